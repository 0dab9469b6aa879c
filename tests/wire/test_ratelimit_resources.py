"""What rate-limit services get over ADS: `dragoman run`, and clients that speak the protocol as they do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from dragoman import resource
from dragoman.proto.envoy.service.discovery import v3 as discovery
from dragoman.ratelimit import following, goresources, published, rules
from tests.envoy.test_ratelimit_policy import ROUTE, USER, limit, policy
from tests.harness import manifests, net
from tests.harness.manifests import http_route, rule
from tests.harness.plane import Plane

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    plane = Plane(tmp_path, environment={"DRAGOMAN_RATELIMIT_GO": "true"})
    plane.write(
        "site.yaml",
        manifests.gateway_class(),
        manifests.gateway(manifests.listener("http", 8080)),
        manifests.service("shop"),
        http_route("shop", rule("shop")),
    )
    await plane.start()
    yield plane
    await plane.stop()


class GoService:
    """Asks as envoyproxy/ratelimit does: state of the world, no names; each response is all there is."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._answers: asyncio.Queue[bytes] = asyncio.Queue()

    async def requests(self) -> AsyncIterator[bytes]:
        request = discovery.DiscoveryRequest(type_url=goresources.TYPE_URL)
        request.node.id = "go"
        request.node.metadata.fields["gateways"].string_value = "*"
        yield request.SerializeToString()
        while True:
            yield await self._answers.get()

    async def next(self) -> dict[str, Any]:
        """The domains of the next response."""
        message = await asyncio.wait_for(self._call.read(), 20)
        response = discovery.DiscoveryResponse.FromString(message)
        answer = discovery.DiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
        answer.version_info = response.version_info
        self._answers.put_nowait(answer.SerializeToString())
        made = [goresources._config_class().FromString(one.value) for one in response.resources]
        return {one.domain: one for one in made}


async def test_envoyproxy_ratelimit_is_served(plane: Plane) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{plane.xds_port}") as channel:
        service = GoService(None)
        service._call = channel.stream_stream(METHOD)(service.requests())
        assert await service.next() == {}
        plane.write(
            "policy.yaml", policy(ROUTE, user=limit(7, "Minute", key=USER), own=limit(1, where="Local"))
        )
        found = await service.next()
        (top,) = found["shop/edge"].descriptors
        assert (top.key, top.value) == ("limit", "shop/p/user")
        (user,) = top.descriptors
        assert (user.key, user.rate_limit.requests_per_unit, user.rate_limit.unit) == ("header:x-user", 7, 2)
        plane.write("policy.yaml", policy(ROUTE, user=limit(9, "Minute", key=USER)))
        (top,) = (await service.next())["shop/edge"].descriptors
        assert top.descriptors[0].rate_limit.requests_per_unit == 9
        plane.write("policy.yaml", policy(ROUTE, log=limit(9, "Day", algorithm={"type": "TokenBucket"})))
        await service.next()
        assert "counted by fixed windows instead" in plane.log
        plane.remove("policy.yaml")
        assert await service.next() == {}


async def test_our_own_service_follows(plane: Plane) -> None:
    """Limits come, change, outlive the control plane, and go."""
    tables: list[rules.Table] = []
    settings = following.Settings(f"127.0.0.1:{plane.xds_port}")
    work = asyncio.create_task(following.Plane(settings, tables.append).run())
    try:

        def numbers() -> set[int]:
            found = (one.algorithm for one in tables[-1].limits()) if tables else ()
            return {each.limit for each in found if each is not None}

        await net.until("the first answer, of nothing", lambda: len(tables) == 1)
        plane.write(
            "policy.yaml", policy(ROUTE, user=limit(7, key=USER), quota=limit(99, "Second", where="Quota"))
        )
        await net.until("both", lambda: numbers() == {7, 99})
        plane.write("policy.yaml", policy(ROUTE, user=limit(8, key=USER)))
        await net.until("a changed number counts first", lambda: 8 in numbers())
        found = tables[-1].find("shop/edge", [("limit", "shop/p/user"), ("header:x-user", "ann")])
        assert [hit.limit.algorithm.limit for hit in found if hit.limit.algorithm] == [8]
        before = len(tables)
        await plane.kill()
        plane.write("policy.yaml", policy(ROUTE, user=limit(11, key=USER)))
        assert len(tables) == before
        await plane.start()
        await net.until("it follows again", lambda: 11 in numbers(), limit=30)
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


def test_what_cannot_be_read_is_refused_and_what_was_there_stays() -> None:
    tables: list[rules.Table] = []
    plane = following.Plane(following.Settings(""), tables.append)
    plane._fresh = True

    def response(**payloads: bytes) -> bytes:
        made = discovery.DeltaDiscoveryResponse(nonce="1", type_url=resource.LIMITS)
        for name, payload in payloads.items():
            made.resources.add(name=name).resource.value = payload
        return made.SerializeToString()

    def refused(answer: bytes) -> bool:
        return discovery.DeltaDiscoveryRequest.FromString(answer).HasField("error_detail")

    assert not refused(plane._take(response(a=published.encode([]))))
    assert refused(plane._take(response(b=b"\xff", c=published.encode([]))))
    assert len(tables) == 1
    assert set(plane._gateways) == {"a"}
    # On another stream the first response is all there is; of one that was refused nothing is taken, so what
    # comes next is not.
    plane._fresh = True
    assert refused(plane._take(response(a=published.encode([]), b=b"\xff")))
    assert not refused(plane._take(response(b=published.encode([]))))
    assert set(plane._gateways) == {"a", "b"}
