"""Policies about requests over xDS: they come, change and go while clients keep their connections, and a
backend that is gone is replaced until it is back.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.harness import manifests, net
from tests.harness.backend import Backend
from tests.harness.load import Load
from tests.harness.manifests import http_route, rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

_LISTENERS = r"^listener_manager.lds.update_success$"
_REFUSED = r"^.*update_rejected$"


def policy(**spec: Any) -> manifests.Body:
    return {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "TrafficPolicy",
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"targetRefs": [{"kind": "HTTPRoute", "name": "shop"}], **spec},
    }


RESERVE = policy(fallback={"backendRef": {"name": "second", "port": 80}})


async def pods(site: Site, number: int = 10) -> Counter[str]:
    """Who answers so many requests, each on a connection of its own; failures count as `failed`."""
    load = Load(site.port, "shop.example", connections=1, warm=number, fresh=True)
    async with load:
        pass
    return Counter({**load.pods, **({"failed": sum(load.failures.values())} if load.failures else {})})


async def only(site: Site, pod: str) -> None:
    async def answered() -> bool:
        return set(await pods(site)) == {pod}

    await net.until(f"only {pod} answers", answered)


async def test_another_backend_takes_over_and_hands_back(site: Site) -> None:
    site.plane.write("second.yaml", *await site.service("second"))
    site.plane.write("first.yaml", *await site.service("first"), http_route("shop", rule("first")), RESERVE)
    await site.served("shop.example")
    await only(site, "first")

    first = site.backends["first"]
    await first.stop()  # connections are refused; nothing tells Envoy
    assert set(await pods(site)) == {"second"}
    again = site.backends["first"] = Backend(first.echo, port=first.port)
    await again.start()
    assert set(await pods(site)) == {"first"}

    service, endpoints = await site.service("first")
    gone = {**endpoints, "endpoints": []}
    site.plane.write("first.yaml", service, gone, http_route("shop", rule("first")), RESERVE)
    await only(site, "second")
    site.plane.write("first.yaml", service, endpoints, http_route("shop", rule("first")), RESERVE)
    await only(site, "first")


async def test_a_few_endpoints_left_are_enough(site: Site) -> None:
    """The other backend gets nothing while one of four endpoints is healthy (Envoy's own rule: below 72 % of
    them it sends a part elsewhere)."""
    service, endpoints = await site.service("first")
    (one,) = endpoints["endpoints"]
    unready = [{"addresses": [f"127.0.0.{n}"], "conditions": {"ready": False}} for n in range(2, 5)]
    endpoints = {**endpoints, "endpoints": [one, *unready]}
    site.plane.write("second.yaml", *await site.service("second"))
    site.plane.write("first.yaml", service, endpoints, http_route("shop", rule("first")), RESERVE)
    await site.served("shop.example")
    assert set(await pods(site, 60)) == {"first"}


CHANGES: tuple[manifests.Body, ...] = (
    policy(timeouts={"request": "9s", "perTry": "3s", "streamIdle": "60s"}, retries={"attempts": 2}),
    policy(retries={"attempts": 1, "methods": ["*"], "attemptCount": {"toBackend": True}}),
    policy(retries={"budget": {"percent": 10}, "retryAfter": {"max": "2s"}}),
    policy(fallback={"response": {"status": 200, "json": {"id": "%REQ(x-id)%"}}}),
    RESERVE,
    policy(
        fallback={"backendRef": {"name": "second", "port": 80}, "statusCodes": [503]},
        timeouts={"connect": "2s"},
    ),
    policy(faults={"abort": {"httpStatus": 503}, "headers": [{"name": "x-test", "value": "1"}]}),
)


async def test_policies_change_under_load(site: Site) -> None:
    """No request fails, no connection is drained, nothing is refused by Envoy."""
    site.plane.write("second.yaml", *await site.service("second"))
    site.plane.write("shop.yaml", *await site.service("first"), http_route("shop", rule("first")))
    await site.served("shop.example")
    listeners = sum((await site.envoy.stats(_LISTENERS)).values())
    async with site.load("shop.example") as load:
        for number, body in enumerate(CHANGES):
            before = sum((await site.envoy.stats(r"^http\..*\.rds\..*\.update_success$")).values())
            site.plane.write("policy.yaml", body)

            async def followed(before: float = before) -> bool:
                found = await site.envoy.stats(r"^http\..*\.rds\..*\.update_success$")
                return sum(found.values()) > before

            await net.until(f"Envoy has change {number}", followed)
            await load.more(60)
        site.plane.remove("policy.yaml")
        await load.more(200)
    assert not load.failures
    assert set(load.pods) == {"first"}
    assert load.opened == load.connections, "a connection was closed"
    assert sum((await site.envoy.stats(_LISTENERS)).values()) == listeners
    assert sum((await site.envoy.stats(_REFUSED)).values()) == 0
