"""Health checks and fallback through a real Envoy: endpoints leave and come back."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest

from tests.harness import net
from tests.harness.pods import ask, backend, many, pod, policy, route, slices
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

HOST = "shop.example"
SHOP = ("Service", "shop")
SOON = {"interval": "100ms", "timeout": "2s", "unhealthyThreshold": 2, "healthyThreshold": 2}


async def only(site: Site, *pods: str) -> None:
    """Returns when these and no others answer."""

    async def so() -> bool:
        return set(await many(12, site.port, HOST)) == set(pods)

    await net.until(f"only {pods}", so)


async def test_who_is_not_well_gets_no_requests(site: Site) -> None:
    pods = {name: await pod(site, name) for name in ("a", "b")}
    http = {"path": "/healthz", "expectedStatuses": [{"start": 200, "end": 204}], "expectedBody": "health 20"}
    site.plane.write("policy.yaml", policy("p", *SHOP, healthCheck={"http": http, **SOON}))
    site.plane.write("shop.yaml", *slices("shop", *pods.values()), route("shop", "shop"))
    await site.served(HOST)
    await only(site, "a", "b")
    pods["b"].mood.health = 404
    await only(site, "a")
    asked = pods["b"].mood.asked
    assert await many(50, site.port, HOST) == {"a": 50}
    assert pods["b"].mood.asked == asked
    pods["b"].mood.health = 203
    await only(site, "a", "b")
    # The body counts: 205 would not do, nor 204, which has none.
    pods["a"].mood.health = 204
    await only(site, "b")
    stats = await site.envoy.stats(r"cluster\.Service/shop/shop/80\.health_check\.healthy")
    assert list(stats.values()) == [1]


async def test_all_unwell_is_503(site: Site) -> None:
    one = await pod(site, "one")
    site.plane.write("policy.yaml", policy("p", *SHOP, healthCheck={"http": {"path": "/healthz"}, **SOON}))
    site.plane.write("shop.yaml", *slices("shop", one), route("shop", "shop"))
    await only(site, "one")
    one.mood.health = 500
    await only(site, "503")
    asked = one.mood.asked
    assert await many(20, site.port, HOST) == {"503": 20}
    assert one.mood.asked == asked


async def test_a_connection_is_enough_for_tcp(site: Site) -> None:
    one, two = await pod(site, "one"), await pod(site, "two")
    site.plane.write("policy.yaml", policy("p", *SHOP, healthCheck={"tcp": {}, **SOON}))
    site.plane.write("shop.yaml", *slices("shop", one, two), route("shop", "shop"))
    await only(site, "one", "two")
    await two.stop()
    await only(site, "one")
    await two.start()
    await only(site, "one", "two")


async def test_the_dead_are_noticed_before_they_are_checked(site: Site) -> None:
    """Of 200 requests a quarter would fail: the next check comes long after them."""
    pods = {name: await pod(site, name) for name in "abcd"}
    check = {"http": {"path": "/healthz"}, "interval": "5s", "jitterPercent": 0}
    site.plane.write("policy.yaml", policy("p", *SHOP, healthCheck=check))
    site.plane.write("shop.yaml", *slices("shop", *pods.values()), route("shop", "shop"))
    await only(site, *pods)
    await pods["b"].stop()
    found = await many(200, site.port, HOST, 0.01)
    assert 1 <= found["503"] <= 6
    assert set(found) == {"a", "c", "d", "503"}
    await pods["b"].start()
    await only(site, *pods)


async def test_who_wants_checks_alone(site: Site) -> None:
    pods = {name: await pod(site, name) for name in "abcd"}
    check = {"http": {"path": "/healthz"}, "interval": "10m", "connectionFailures": 0}
    site.plane.write("policy.yaml", policy("p", *SHOP, healthCheck=check))
    site.plane.write("shop.yaml", *slices("shop", *pods.values()), route("shop", "shop"))
    await only(site, *pods)
    await pods["b"].stop()
    assert (await many(200, site.port, HOST, 0.01))["503"] > 15


async def test_what_a_tcp_check_says_and_hears(site: Site) -> None:
    """The text that is sent, and the text that the answer must hold."""
    one, two = await pod(site, "one"), await pod(site, "two")
    asks = {"send": "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "receive": "health 200"}
    site.plane.write("policy.yaml", policy("p", *SHOP, healthCheck={"tcp": asks, **SOON}))
    site.plane.write("shop.yaml", *slices("shop", one, two), route("shop", "shop"))
    await only(site, "one", "two")
    two.mood.health = 500
    await only(site, "one")
    two.mood.health = 200
    await only(site, "one", "two")


async def test_a_fallback_takes_over_and_gives_back(site: Site) -> None:
    first, second = await pod(site, "first"), await pod(site, "second")
    endpoints = ({"port": first.port}, {"port": second.port, "priority": 1})
    check = {"http": {"path": "/healthz"}, **SOON}
    site.plane.write("policy.yaml", policy("p", "Backend", "shop", healthCheck=check))
    site.plane.write("shop.yaml", backend("shop", *endpoints), route("shop", "shop", kind="Backend"))
    await only(site, "first")
    first.mood.health = 500
    await only(site, "second")
    first.mood.health = 200
    await only(site, "first")


async def test_a_fallback_takes_over_where_answers_fail(site: Site) -> None:
    """Outlier detection in place of checks."""
    first, second = await pod(site, "first"), await pod(site, "second")
    endpoints = ({"port": first.port}, {"port": second.port, "priority": 1})
    detection = {"breaker": True, "consecutive5xx": 3, "baseEjectionTime": "2s", "interval": "200ms"}
    site.plane.write("policy.yaml", policy("p", "Backend", "shop", outlierDetection=detection))
    site.plane.write("shop.yaml", backend("shop", *endpoints), route("shop", "shop", kind="Backend"))
    await only(site, "first")
    first.mood.status = 500
    found = await many(30, site.port, HOST, 0.02)
    assert found == {"500": 3, "second": 27}
    first.mood.status = 200
    await only(site, "first")


async def test_how_much_one_priority_carries(site: Site) -> None:
    """Half of the first priority is well: at 100 percent the other half goes on to the second."""
    pods = {name: await pod(site, name) for name in ("a", "b", "fallback")}
    endpoints = [
        {"port": pods["a"].port},
        {"port": pods["b"].port},
        {"port": pods["fallback"].port, "priority": 1},
    ]
    check = {"http": {"path": "/healthz"}, **SOON}
    spec = {"healthCheck": check, "failover": {"overprovisioningPercent": 100}}
    site.plane.write("policy.yaml", policy("p", "Backend", "shop", **spec))
    site.plane.write("shop.yaml", backend("shop", *endpoints), route("shop", "shop", kind="Backend"))
    await only(site, "a", "b")
    pods["b"].mood.health = 500
    await only(site, "a", "fallback")
    found = await many(1000, site.port, HOST)
    assert abs(found["fallback"] - 500) < 80


class Health(grpc.GenericRpcHandler):
    """grpc.health.v1.Health, and whether it serves."""

    def __init__(self) -> None:
        self.serves = True
        self.asked: set[bytes] = set()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        async def check(request: bytes, _: object) -> bytes:
            self.asked.add(request)
            return b"\x08\x01" if self.serves else b"\x08\x02"

        if details.method != "/grpc.health.v1.Health/Check":
            return None
        return grpc.unary_unary_rpc_method_handler(check)


async def test_grpcs_own_health(site: Site) -> None:
    """Its service name is asked for; NOT_SERVING takes it out."""
    health = Health()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((health,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        check = {"grpc": {"service": "shop.Calls"}, **SOON}
        site.plane.write("policy.yaml", policy("p", "Backend", "shop", healthCheck=check))
        site.plane.write(
            "shop.yaml",
            backend("shop", {"port": port}, protocol="HTTP2"),
            route("shop", "shop", kind="Backend"),
        )

        async def well() -> bool:
            stats = await site.envoy.stats(r"cluster\.Backend/shop/shop\.membership_healthy")
            return list(stats.values()) == [1]

        async def unwell() -> bool:
            return (await ask(site.port, HOST)).status == 503

        await net.until("healthy", well)
        assert health.asked == {b"\x0a\x0ashop.Calls"}
        health.serves = False
        await net.until("not healthy", unwell)
        health.serves = True
        await net.until("healthy again", well)
    finally:
        await server.stop(None)
