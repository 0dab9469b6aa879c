"""The service's part of a trace: a collector gets Envoy's spans, and the service's below them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from dragoman.proto.opentelemetry.proto.collector.trace import v1 as collector
from dragoman.ratelimit import tracing
from tests.harness import limits, net
from tests.harness.backend import Backend
from tests.harness.echo import Echo, Identity
from tests.harness.envoy import Envoy

pytestmark = pytest.mark.envoy

LIMITS = """
domain: shop
descriptors:
- key: user
  rate_limit: {unit: day, requests_per_unit: 1, name: per-user}
"""


class Collector:
    """Takes spans over OTLP; `found` are those of one name."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    async def start(self) -> int:
        async def export(message: bytes, _: Any) -> bytes:
            request = collector.ExportTraceServiceRequest.FromString(message)
            self.spans += [s for r in request.resource_spans for part in r.scope_spans for s in part.spans]
            return b""

        self._server = grpc.aio.server()
        method = grpc.unary_unary_rpc_method_handler(export)
        service = tracing.METHOD.split("/")[1]
        handler = grpc.method_handlers_generic_handler(service, {"Export": method})
        self._server.add_generic_rpc_handlers((handler,))
        port: int = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return port

    async def stop(self) -> None:
        await self._server.stop(0)

    def found(self, name: str) -> list[Any]:
        return [span for span in self.spans if name in span.name]


def traced(bootstrap: limits.Json, port: int, percent: int = 100) -> limits.Json:
    """The bootstrap of an Envoy that traces so many of a hundred requests."""
    (listener,) = bootstrap["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    provider = limits.typed(
        "envoy.config.trace.v3.OpenTelemetryConfig",
        grpc_service={"envoy_grpc": {"cluster_name": "collector"}},
        service_name="envoy",
    )
    manager["tracing"] = {
        "provider": {"name": "envoy.tracers.opentelemetry", "typed_config": provider},
        "random_sampling": {"value": percent},
    }
    bootstrap["static_resources"]["clusters"].append(
        limits.cluster("collector", [port], typed_extension_protocol_options=limits.H2)
    )
    return bootstrap


@pytest.mark.parametrize("transport", ["http2", "grpc"])
async def test_a_decision_is_part_of_the_trace(tmp_path: Path, envoy_binary: Path, transport: str) -> None:
    there = Collector()
    collects = await there.start()
    backend = Backend(Echo(Identity("shop", "shop", "shop")))
    await backend.start()
    port = net.free_port()
    options = ("--transport", transport, "--traces", f"127.0.0.1:{collects}")

    def own() -> list[Any]:
        return [span for span in there.found("ShouldRateLimit") if _said(span)]

    try:
        async with limits.Service(tmp_path, LIMITS, *options) as service:
            bootstrap = limits.bootstrap(port, backend.port, [service.port], tmp_path / "log")
            async with Envoy(traced(bootstrap, collects), tmp_path):
                assert await two(port) == [200, 429]
                await net.until("the service's spans", lambda: len(own()) == 2, limit=20)

                def below() -> bool:
                    """Envoy's own spans come later than ours."""
                    known = {(span.trace_id, span.span_id) for span in there.spans}
                    return all((span.trace_id, span.parent_span_id) in known for span in own())

                await net.until("Envoy's spans stand above them", below, limit=20)
            assert await service.metric("spans_total", outcome="sent") == 2
        assert [_said(span)["ratelimit.outcome"] for span in own()] == ["ok", "over_limit"]
        assert {_said(span)["ratelimit.limit"] for span in own()} == {"per-user"}
        assert all(span.end_time_unix_nano >= span.start_time_unix_nano > 0 for span in own())
    finally:
        await backend.stop()
        await there.stop()


async def two(port: int) -> list[int]:
    return [(await limits.fetch(port, "/user", x_user="ann")).status for _ in range(2)]


def _said(span: Any) -> dict[str, str]:
    found = {one.key: one.value.string_value for one in span.attributes}
    return found if "ratelimit.outcome" in found else {}


@pytest.mark.parametrize("transport", ["http2", "grpc"])
async def test_a_clients_trace_is_no_way_around_a_limit(
    tmp_path: Path, envoy_binary: Path, transport: str
) -> None:
    """Envoy hands on what clients say of theirs, however much it is; a call that fails lets requests pass."""
    backend = Backend(Echo(Identity("shop", "shop", "shop")))
    await backend.start()
    port, nowhere = net.free_port(), net.free_port()
    try:
        async with limits.Service(tmp_path, LIMITS, "--transport", transport) as service:
            bootstrap = limits.bootstrap(port, backend.port, [service.port], tmp_path / "log")
            async with Envoy(traced(bootstrap, nowhere), tmp_path):
                for number, state in enumerate(("a=1", f"a={'b' * 20_000}", f"a={'b' * 50_000}")):
                    said = {
                        "x_user": f"user-{number}",
                        "traceparent": f"00-{number + 1:032x}-{number + 1:016x}-01",
                        "tracestate": state,
                    }
                    found = [(await limits.fetch(port, "/user", **said)).status for _ in range(2)]
                    assert found == [200, 429], len(state)
    finally:
        await backend.stop()


async def test_without_a_collector_nobody_waits(tmp_path: Path, envoy_binary: Path) -> None:
    backend = Backend(Echo(Identity("shop", "shop", "shop")))
    await backend.start()
    port, nowhere = net.free_port(), net.free_port()
    try:
        async with limits.Service(tmp_path, LIMITS, "--traces", f"127.0.0.1:{nowhere}") as service:
            bootstrap = limits.bootstrap(port, backend.port, [service.port], tmp_path / "log")
            async with Envoy(traced(bootstrap, nowhere), tmp_path):
                assert await two(port) == [200, 429]

                async def dropped() -> bool:
                    return await service.metric("spans_total", outcome="dropped") == 2

                await net.until("they are dropped", dropped, limit=20)
            assert service.log.count("no traces are taken") == 1
    finally:
        await backend.stop()
