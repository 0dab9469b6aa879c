"""TrafficPolicies about the choice among endpoints, through a real Envoy."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from pathlib import Path

import pytest

from tests.harness import manifests, net
from tests.harness.pods import ask, backend, many, pod, policy, route, slices
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

HOST = "shop.example"
SHOP = ("Service", "shop")


async def three(site: Site, **balancing: object) -> None:
    """A Service of three pods."""
    pods = [await pod(site, name) for name in ("a", "b", "c")]
    site.plane.write("policy.yaml", policy("p", *SHOP, loadBalancing=balancing))
    site.plane.write("shop.yaml", *slices("shop", *pods), route("shop", "shop"))
    await site.served(HOST)


@pytest.mark.parametrize("kind", ["RoundRobin", "LeastRequest"])
async def test_weights_of_endpoints(site: Site, kind: str) -> None:
    """5 : 3 : 2, each within three points."""
    pods = [await pod(site, name) for name in ("a", "b", "c")]
    endpoints = [{"port": one.port, "weight": w} for one, w in zip(pods, (5, 3, 2), strict=True)]
    site.plane.write("policy.yaml", policy("p", "Backend", "shop", loadBalancing={"type": kind}))
    site.plane.write("shop.yaml", backend("shop", *endpoints), route("shop", "shop", kind="Backend"))
    await site.served(HOST)
    found = await many(1000, site.port, HOST)
    for name, share in (("a", 500), ("b", 300), ("c", 200)):
        assert abs(found[name] - share) < 30, found


async def test_random(site: Site) -> None:
    await three(site, type="Random")
    found = await many(3000, site.port, HOST)
    for name in ("a", "b", "c"):
        assert abs(found[name] - 1000) < 120, found
    # Not one after the other.
    order = [(await many(1, site.port, HOST)).popitem()[0] for _ in range(40)]
    assert any(one == other for one, other in itertools.pairwise(order))


@pytest.mark.parametrize("kind", ["RingHash", "Maglev"])
async def test_a_header_decides(site: Site, kind: str) -> None:
    """The same value always the same endpoint; many values all of them."""
    await three(site, type=kind, hashOn=[{"header": "X-User"}, {"queryParameter": "user"}])
    users = [f"user-{number}" for number in range(60)]
    homes = {user: (await ask(site.port, HOST, X_User=user)).pod for user in users}
    assert set(homes.values()) == {"a", "b", "c"}
    for user in users[:20]:
        assert set(await many(10, site.port, HOST, X_User=user)) == {homes[user]}
    for user in users[:5]:
        # The second source counts where the first is not there, and gives the same.
        found = {(await ask(site.port, HOST, f"/?user={user}")).pod for _ in range(10)}
        assert found == {homes[user]}
        # The first one wins.
        assert (await ask(site.port, HOST, "/?user=other", X_User=user)).pod == homes[user]


async def test_a_cookie_is_given_and_leads_back(site: Site) -> None:
    await three(site, type="RingHash", hashOn=[{"cookie": {"name": "seat", "ttl": "1h", "path": "/"}}])
    homes: Counter[str] = Counter()
    for _ in range(30):
        first = await ask(site.port, HOST)
        given = first.headers["set-cookie"]
        assert "Max-Age=3600" in given
        assert "HttpOnly" in given
        cookie = given.partition(";")[0]
        homes[first.pod] += 1
        for _ in range(3):
            again = await ask(site.port, HOST, Cookie=cookie)
            assert again.pod == first.pod
            assert "set-cookie" not in again.headers
    assert set(homes) == {"a", "b", "c"}


async def test_the_clients_address_decides(site: Site) -> None:
    await three(site, type="Maglev", hashOn=[{"sourceAddress": True}])
    assert len(await many(60, site.port, HOST)) == 1


async def test_backends_of_one_rule_may_differ(site: Site) -> None:
    """One hashes, one deals: the rule's deal between them knows nothing of it."""
    pods = {name: await pod(site, name) for name in ("a1", "a2", "b1", "b2")}
    sticky = policy("p", "Service", "a", loadBalancing={"type": "RingHash", "hashOn": [{"header": "x-user"}]})
    site.plane.write("policy.yaml", sticky)
    site.plane.write(
        "shop.yaml",
        *slices("a", pods["a1"], pods["a2"]),
        *slices("b", pods["b1"], pods["b2"]),
        route("shop", "a", "b"),
    )
    await site.served(HOST)
    found = await many(200, site.port, HOST, x_user="somebody")
    assert len({name for name in found if name.startswith("a")}) == 1
    assert len({name for name in found if name.startswith("b")}) == 2


async def test_connections_are_hashed_on_the_clients_address(site: Site) -> None:
    """A TCPRoute: by default connections are dealt out, with the policy they all go to one."""
    port = net.free_port()
    pods = [await pod(site, name) for name in ("a", "b", "c")]
    site.plane.write("gateway.yaml", *site.gateway(manifests.listener("tcp", port, protocol="TCP")))
    tcp = {
        "apiVersion": manifests.GATEWAY_API,
        "kind": "TCPRoute",
        "metadata": {"name": "tcp", "namespace": "shop"},
        "spec": {
            "parentRefs": [{"name": "edge", "sectionName": "tcp"}],
            "rules": [{"backendRefs": [{"name": "shop", "port": 80}]}],
        },
    }
    site.plane.write("shop.yaml", *slices("shop", *pods), tcp)

    async def reached() -> set[str]:
        return {(await ask(port, HOST)).pod for _ in range(30)}

    async def all_of_them() -> bool:
        return len(await reached()) == 3

    async def one() -> bool:
        return len(await reached()) == 1

    await net.until("all of them reached", _calm(all_of_them))
    balancing = {"type": "Maglev", "hashOn": [{"header": "x"}, {"sourceAddress": True}]}
    site.plane.write("policy.yaml", policy("p", *SHOP, loadBalancing=balancing))
    await net.until("one of them reached", _calm(one))


def _calm(condition: object) -> object:
    """A connection that is closed counts as "not yet"."""

    async def asked() -> bool:
        try:
            return bool(await condition())  # type: ignore[operator]
        except asyncio.IncompleteReadError:
            return False

    return asked


async def test_a_new_endpoint_starts_slowly(site: Site) -> None:
    """Its share grows from a tenth of the others' to the same within the window."""
    old, new = [await pod(site, name) for name in ("old", "new")]
    slow = {"window": "8s", "minimumPercent": 10}
    site.plane.write(
        "policy.yaml", policy("p", *SHOP, loadBalancing={"type": "RoundRobin", "slowStart": slow})
    )
    site.plane.write("shop.yaml", *slices("shop", old), route("shop", "shop"))
    await site.served(HOST)
    await asyncio.sleep(9)  # the first one is not new any more, which nothing of Envoy says
    loop = asyncio.get_running_loop()

    async def joined() -> bool:
        return "new" in await many(20, site.port, HOST)

    async def left() -> bool:
        return "new" not in await many(20, site.port, HOST)

    for number in range(9):
        assert number < 8
        begun = loop.time()
        site.plane.write("shop.yaml", *slices("shop", old, new), route("shop", "shop"))
        await net.until("the new endpoint answers", joined)
        early = await many(200, site.port, HOST)
        if loop.time() - begun < 4:  # a slow machine misses the beginning
            break
        site.plane.write("shop.yaml", *slices("shop", old), route("shop", "shop"))
        await net.until("it is gone again", left)
    assert early["new"] < early["old"] / 2

    async def even() -> bool:
        found = await many(100, site.port, HOST)
        return abs(found["new"] - found["old"]) <= 4

    await net.until("the same share", even, pause=0.3)


async def test_endpoints_of_the_own_zone_first(tmp_path: Path, envoy_binary: Path) -> None:
    """While there are any of them that are well."""
    async with Site(tmp_path, bootstrap=("--zone", "west")) as site:
        pods = {name: await pod(site, name) for name in ("w1", "w2", "e1", "e2")}
        zones = {name: "west" if name.startswith("w") else "east" for name in pods}
        spec = {
            "loadBalancing": {"type": "RoundRobin", "preferLocalZone": True},
            "outlierDetection": {"consecutive5xx": 1, "baseEjectionTime": "300s", "maxEjectionPercent": 60},
        }
        site.plane.write("shop.yaml", *slices("shop", *pods.values(), zones=zones), route("shop", "shop"))
        await site.served(HOST)
        assert set(await many(40, site.port, HOST)) == set(pods)
        site.plane.write("policy.yaml", policy("p", *SHOP, **spec))

        async def local() -> bool:
            return set(await many(40, site.port, HOST)) == {"w1", "w2"}

        await net.until("only the own zone", local)
        for name in ("w1", "w2"):
            pods[name].mood.status = 500

        async def other() -> bool:
            return set(await many(20, site.port, HOST)) == {"e1", "e2"}

        await net.until("the other zone", other)
