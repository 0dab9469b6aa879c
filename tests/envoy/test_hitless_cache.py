"""A cache comes under load, and goes: no request fails, no connection is drained, and the inner listener is
there exactly while somebody needs it. Over HTTP and HTTPS, with the bootstrap that users get, and with one
that has no internal listeners."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.harness import certs, manifests, net
from tests.harness.envoy import Envoy
from tests.harness.load import Load, Reply
from tests.harness.manifests import http_route, rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy


def policy(**spec: Any) -> manifests.Body:
    return {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "HTTPPolicy",
        "metadata": {"name": "kept", "namespace": "shop"},
        "spec": {"targetRefs": [{"kind": "HTTPRoute", "name": "shop"}], "cache": spec},
    }


async def listeners(envoy: Envoy) -> list[str]:
    found = json.loads(await envoy.get("/listeners?format=json"))["listener_statuses"]
    return [one["name"] for one in found if one["name"].startswith("cache:")]


async def caches(site: Site, folder: Path, wanted: str, version: str) -> None:
    """Writes the policy and waits for `wanted`: HIT, MISS (nothing is kept, all goes through the inner
    listener), or nothing."""
    if wanted:
        life = {"ttl": "60s"} if wanted == "HIT" else {}
        storage = {"directory": str(folder)}
        site.plane.write("policy.yaml", policy(**life, version=version, storage=storage))
    else:
        site.plane.remove("policy.yaml")

    async def followed() -> bool:
        return (await asked(site.port)).headers.get("x-cache", "") == wanted

    await net.until("Envoy has the policy", followed)


async def asked(port: int, path: str = "/", tls: ssl.SSLContext | None = None) -> Reply:
    replies: list[Reply] = []

    def keep(reply: Reply) -> None:
        replies.append(reply)

    async with Load(port, "shop.example", path, connections=1, warm=1, expect=keep, tls=tls):
        pass
    return replies[0]


@pytest.mark.parametrize("site", ["delta", "sotw"], indirect=True)
async def test_a_cache_comes_and_goes(site: Site, tmp_path: Path) -> None:
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", rule("shop")))
    other = http_route("other", rule("shop"))
    site.plane.write("other.yaml", other)
    await site.served("shop.example")
    await site.served("other.example")
    assert await listeners(site.envoy) == []
    for number in range(4):
        async with site.load("shop.example") as load, site.load("other.example") as neighbour:
            await caches(site, tmp_path, "MISS", str(number))
            assert await listeners(site.envoy) == [f"cache:127.0.0.1:{site.port}"]
            await load.more(200)
        await caches(site, tmp_path, "", "")

        async def gone() -> bool:
            return not await listeners(site.envoy)

        await net.until("the inner listener gone", gone)
        for each in (load, neighbour):
            assert not each.failures, dict(each.failures)
            assert each.opened == each.connections, "a connection was closed"


async def test_a_new_version_and_a_changed_route_forget_what_was_kept(site: Site, tmp_path: Path) -> None:
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", rule("shop")))
    await site.served("shop.example")
    await caches(site, tmp_path, "HIT", "1")
    await asked(site.port, "/page")
    assert (await asked(site.port, "/page")).headers["x-cache"] == "HIT"
    seen = site.backends["shop"].echo.seen
    assert seen.count("/page") == 1

    async def again(times: int) -> bool:
        await asked(site.port, "/page")
        return seen.count("/page") == times

    await caches(site, tmp_path, "HIT", "2")
    await net.until("the page asked for again", lambda: again(2))
    change = {
        "type": "ResponseHeaderModifier",
        "responseHeaderModifier": {"set": [{"name": "x-new", "value": "1"}]},
    }
    site.plane.write(
        "shop.yaml", *await site.service("shop"), http_route("shop", rule("shop", filters=[change]))
    )
    await net.until("the page asked for again", lambda: again(3))
    reply = await asked(site.port, "/page")
    assert (reply.headers["x-cache"], reply.headers["x-new"]) == ("HIT", "1")


async def test_over_https_each_host_name_has_its_own(site: Site, tmp_path: Path) -> None:
    port = net.free_port()
    authority = certs.Authority()
    pair = authority.issue("shop.example")
    secret = manifests.tls_secret("cert", pair.certificate, pair.key)
    secure = manifests.listener("https", port, protocol="HTTPS", hostname="shop.example", secret="cert")
    site.plane.write("gateway.yaml", *site.gateway(secure), secret)
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", rule("shop")))
    await site.served("shop.example")
    await caches(site, tmp_path, "HIT", "1")
    names = {f"cache:127.0.0.1:{site.port}", f"cache:127.0.0.1:{port}/shop.example"}
    assert set(await listeners(site.envoy)) == names
    context = authority.client_context()
    first, second = await asked(port, "/s", context), await asked(port, "/s", context)
    assert second.headers["x-cache"] == "HIT"
    assert json.loads(first.body)["headers"]["X-Forwarded-Proto"] == ["https"]
    assert site.backends["shop"].echo.seen.count("/s") == 1
    plain = await asked(site.port, "/s")
    assert json.loads(plain.body)["headers"]["X-Forwarded-Proto"] == ["http"]  # a key of its own


async def test_an_envoy_without_internal_listeners_does_without_the_cache(site: Site, tmp_path: Path) -> None:
    """Somebody's own bootstrap: the inner listener is refused there, and nothing else."""
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", rule("shop")))
    await site.served("shop.example")
    bare = site.bootstrap()
    for key in ("bootstrap_extensions", "layered_runtime"):
        del bare[key]
    bare["admin"]["address"]["socket_address"]["port_value"] = net.free_port()
    await caches(site, tmp_path, "HIT", "1")
    await site.envoy.stop()
    folder = tmp_path / "bare"
    folder.mkdir()
    async with Envoy(bare, folder) as envoy:

        async def answered() -> bool:
            return (await asked(site.port)).status == 200

        await net.until("requests answered", answered)
        for _ in range(5):
            reply = await asked(site.port)
            assert (reply.status, reply.headers.get("x-cache")) == (200, None)
        assert await listeners(envoy) == []
