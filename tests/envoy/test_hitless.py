"""No request fails because of a configuration change: the real control plane, a real Envoy, constant load.

Each test sends at least `ENOUGH` requests and changes things meanwhile, several times. A failure is any
answer but the expected one, or none. Connections are kept open, so a listener or a filter chain that is
needlessly replaced shows as well.
"""

from __future__ import annotations

import itertools
from functools import partial

import pytest

from tests.harness import manifests, net
from tests.harness.backend import Backend
from tests.harness.load import Load, Reply
from tests.harness.manifests import http_route, rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

ENOUGH = 1500

_UPDATES = r"^(cluster_manager.cds|listener_manager.lds|http\..*\.rds\..*)\.update_(success|rejected)$"
"""Envoy's count of the configurations that it was sent."""

_SENT = "dragoman_xds_responses_total"
"""The control plane's: a sample per type and group of which anything was sent."""


async def _enough(load: Load) -> None:
    await load.more(max(100, ENOUGH - load.done))


def _faultless(*loads: Load) -> None:
    for load in loads:
        assert not load.failures, f"{load.host}: {dict(load.failures)} of {load.done} requests"
        assert load.done >= ENOUGH


@pytest.mark.parametrize("site", ["delta", "sotw"], indirect=True)
async def test_backend_of_a_route_changes(site: Site) -> None:
    """A new Service each time: its cluster has to be warm before the route goes there, the old one stays
    until then.
    """
    site.plane.write("s0.yaml", *await site.service("s0"))
    site.plane.write("shop.yaml", http_route("shop", rule("s0")))
    await site.served("shop.example")
    async with site.load("shop.example") as load:
        for number in range(1, 6):
            before, now = f"s{number - 1}", f"s{number}"
            site.plane.write(f"{now}.yaml", *await site.service(now))
            site.plane.write("shop.yaml", http_route("shop", rule(now)))
            await load.only(now)
            site.plane.remove(f"{before}.yaml")
            await load.more(100)
        await _enough(load)
    _faultless(load)


async def test_service_and_route_change_in_one_file(site: Site) -> None:
    """Old Service out, new one in, and the route moved, all by one rename."""
    site.plane.write("shop.yaml", *await site.service("s0"), http_route("shop", rule("s0")))
    await site.served("shop.example")
    async with site.load("shop.example") as load:
        for number in range(1, 6):
            now = f"s{number}"
            site.plane.write("shop.yaml", *await site.service(now), http_route("shop", rule(now)))
            await load.only(now)
        await _enough(load)
    _faultless(load)


async def test_rules_are_reordered(site: Site) -> None:
    """Rules of equal precedence: the first one wins, so the order shows in who answers."""
    names = ("a", "b", "c")
    for name in names:
        site.plane.write(f"{name}.yaml", *await site.service(name))
    site.plane.write("shop.yaml", http_route("shop", *map(rule, names)))
    await site.served("shop.example")
    async with site.load("shop.example") as load:
        for order in itertools.permutations(names):
            site.plane.write("shop.yaml", http_route("shop", *map(rule, order)))
            await load.only(order[0])
        await _enough(load)
    _faultless(load)
    assert set(load.pods) == set(names)


async def test_weights_change(site: Site) -> None:
    for name in ("old", "new"):
        site.plane.write(f"{name}.yaml", *await site.service(name))
    site.plane.write("shop.yaml", http_route("shop", rule(("old", 100), ("new", 0))))
    await site.served("shop.example")
    async with site.load("shop.example") as load:
        await load.only("old")
        for weight in (10, 50, 90):
            site.plane.write("shop.yaml", http_route("shop", rule(("old", 100 - weight), ("new", weight))))
            await load.seen("new")
            await load.more(200)
        site.plane.write("shop.yaml", http_route("shop", rule(("old", 0), ("new", 100))))
        await load.only("new")
        site.plane.write("shop.yaml", http_route("shop", rule(("old", 100), ("new", 0))))
        await load.only("old")
        await _enough(load)
    _faultless(load)


def _found_or_not(reply: Reply) -> str | None:
    """While a route comes or goes its host answers 200 or 404, and nothing else."""
    return None if reply.status in (200, 404) else f"status {reply.status}"


async def test_routes_come_and_go(site: Site) -> None:
    """The neighbour never notices; the route is whole or not there, never a 503 in between."""
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", rule("shop")))
    await site.served("shop.example")
    async with (
        site.load("shop.example") as neighbour,
        site.load("guest.example", expect=_found_or_not) as guest,
    ):
        for number in range(5):
            name = f"g{number}"
            route = http_route("guest", rule(name), hostnames=["guest.example"])
            site.plane.write("guest.yaml", *await site.service(name), route)
            await guest.only(name)
            site.plane.remove("guest.yaml")
            await guest.only("")
        await _enough(neighbour)
        await _enough(guest)
    _faultless(neighbour, guest)


async def test_listeners_come_and_go(site: Site) -> None:
    """Traffic of one listener is not harmed by others: another port, another host name on the same port, and
    HTTPS.
    """
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", rule("shop")))
    await site.served("shop.example")
    other = net.free_port()
    async with site.load("shop.example") as load:
        for _ in range(3):
            more = [
                manifests.listener("second", other),
                manifests.listener("narrow", site.port, hostname="*.narrow.example"),
            ]
            site.plane.write("gateway.yaml", *site.gateway(*more))
            await site.served("shop.example", port=other)
            await load.more(150)
            site.plane.write("gateway.yaml", *site.gateway())
            await net.until("the second listener gone", lambda: _refused(other))
            await load.more(150)
        await _enough(load)
    _faultless(load)


async def _refused(port: int) -> bool:
    async with Load(port, "shop.example", connections=1, warm=1) as load:
        pass
    return any("Refused" in reason for reason in load.failures)


async def test_endpoints_come_and_go(site: Site) -> None:
    """A pod is replaced as Kubernetes does it: the new one ready, the old one terminating, then gone.

    Slow requests are under way on the old pod when it is told to end; they are answered.
    """
    old = await site.backend("pod-0")
    site.plane.write("service.yaml", manifests.service("shop"), http_route("shop", rule("shop")))
    site.plane.write("pod-0.yaml", manifests.endpoint_slice("shop", old.port, suffix="pod-0"))
    await site.served("shop.example")
    async with site.load("shop.example") as load:
        for number in range(1, 4):
            now = f"pod-{number}"
            async with site.load("shop.example", path="/?delay=700ms", connections=5, warm=0) as slow:
                await net.until("slow requests in flight", partial(_busy, old))
                new = await site.backend(now)
                site.plane.write(f"{now}.yaml", manifests.endpoint_slice("shop", new.port, suffix=now))
                await load.seen(now)
                ending = manifests.endpoint(ready=False, serving=True, terminating=True)
                site.plane.write(
                    f"{old.name}.yaml", manifests.endpoint_slice("shop", old.port, ending, suffix=old.name)
                )
                await load.only(now)
                site.plane.remove(f"{old.name}.yaml")
                await load.more(100)
                slow.finish()
            assert not slow.failures
            assert slow.pods[old.name] >= 5
            await net.until(f"Envoy let go of {old.name}", partial(_idle, old))
            await old.stop()
            old = new
            await load.more(100)
        await _enough(load)
    _faultless(load)


def _busy(pod: Backend) -> bool:
    return pod.in_flight >= 5


def _idle(pod: Backend) -> bool:
    return pod.idle


async def test_control_plane_is_restarted(site: Site) -> None:
    await _restarted(site, kill=False)


async def test_control_plane_is_killed(site: Site) -> None:
    await _restarted(site, kill=True)


async def _restarted(site: Site, *, kill: bool) -> None:
    """Envoy runs on without it; the new one finds nothing to send, and takes up its work."""
    site.plane.write("shop.yaml", *await site.service("s0"), http_route("shop", rule("s0")))
    await site.served("shop.example")
    async with site.load("shop.example") as load:
        before = await site.envoy.stats(_UPDATES)
        await (site.plane.kill() if kill else site.plane.stop())
        await load.more(400)
        await site.plane.start()
        await net.until("Envoy back", lambda: _subscribed(site))
        await load.more(400)
        assert await site.envoy.stats(_UPDATES) == before
        assert not await site.plane.metrics(_SENT)
        site.plane.write("shop.yaml", *await site.service("s1"), http_route("shop", rule("s1")))
        await load.only("s1")
        assert await site.plane.metrics(_SENT), "this metric counts what is sent"
        await _enough(load)
    _faultless(load)


async def _subscribed(site: Site) -> bool:
    """Envoy's stream is there, down to the last type that it asks for."""
    streams = await site.plane.metrics("dragoman_xds_streams{")
    return all(any(kind in name for name in streams) for kind in ("CDS", "EDS", "LDS", "RDS"))
