"""The server over real gRPC: every service in both forms, admission, failures, drain."""

from __future__ import annotations

import asyncio
import socket

import grpc.aio
import pytest

from dragoman import config, resource
from dragoman.resource import CLUSTER, ENDPOINT, EXTENSION, LISTENER, ROUTE, SCOPE, SECRET
from dragoman.xds.ledger import Status
from dragoman.xds.server import Server
from dragoman.xds.wire import Form
from tests.harness import net
from tests.wire import plane
from tests.wire.plane import connect

FORMS = pytest.mark.parametrize("form", list(Form))
SINGLE = {
    CLUSTER: ("cluster.v3.ClusterDiscoveryService", "Clusters"),
    ENDPOINT: ("endpoint.v3.EndpointDiscoveryService", "Endpoints"),
    LISTENER: ("listener.v3.ListenerDiscoveryService", "Listeners"),
    ROUTE: ("route.v3.RouteDiscoveryService", "Routes"),
    SCOPE: ("route.v3.ScopedRoutesDiscoveryService", "ScopedRoutes"),
    SECRET: ("secret.v3.SecretDiscoveryService", "Secrets"),
    EXTENSION: ("extension.v3.ExtensionConfigDiscoveryService", "ExtensionConfigs"),
}
# Filter chains have no service of their own, and go by delta ADS alone: `test_chains.py`.
TYPES = pytest.mark.parametrize("type_url", list(SINGLE))


def everything() -> list[resource.Resource]:
    return [resource.make(type_url, "one", b"\n\x03one") for type_url in resource.TYPES]


@FORMS
@TYPES
async def test_rule_1_every_type_on_ads_and_on_its_own_service(form: Form, type_url: str) -> None:
    async with plane.plane(*everything()) as running:
        async with connect(running.port, form) as stream:
            aggregated = await stream.ask(type_url, "one")
        async with connect(running.port, form, *SINGLE[type_url]) as stream:
            single = await stream.ask("", "one")
        assert aggregated == single
        assert aggregated.type_url == type_url
        packed = aggregated.resources[0] if form is Form.SOTW else aggregated.resources[0].resource
        assert (packed.type_url, packed.value) == (type_url, b"\n\x03one")


@pytest.mark.parametrize(
    "method",
    [
        "route.v3.VirtualHostDiscoveryService/DeltaVirtualHosts",
        "endpoint.v3.LocalityEndpointDiscoveryService/DeltaLocalityEndpoints",
        "runtime.v3.RuntimeDiscoveryService/DeltaRuntime",
        "load_stats.v3.LoadReportingService/StreamLoadStats",
    ],
)
async def test_rule_1_services_that_are_not_there_say_so(method: str) -> None:
    async with plane.plane() as running, grpc.aio.insecure_channel(f"127.0.0.1:{running.port}") as channel:
        stream = plane.Stream(channel, f"/envoy.service.{method}", Form.DELTA, None)
        assert (await stream.end())[0] == "UNIMPLEMENTED"


async def test_rule_91_there_is_no_rest_form() -> None:
    async with plane.plane() as running, grpc.aio.insecure_channel(f"127.0.0.1:{running.port}") as channel:
        fetch = channel.unary_unary("/envoy.service.cluster.v3.ClusterDiscoveryService/FetchClusters")
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await fetch(b"", timeout=20)
        assert failure.value.code().name == "UNIMPLEMENTED"


@FORMS
async def test_rule_89_locators_are_ignored(form: Form) -> None:
    field = "resource_locators_subscribe" if form is Form.DELTA else "resource_locators"
    async with plane.plane(*everything()) as running, connect(running.port, form) as stream:
        await stream.send(ENDPOINT, **stream.names("one"), **{field: [{"name": "two"}]})
        response = await stream.read()
        assert len(response.resources) == 1
        [proxy] = running.ledger.proxies()
        assert proxy.types[ENDPOINT].names == 1


@FORMS
@TYPES
async def test_rules_84_and_87_neither_lifetimes_nor_errors_of_resources(form: Form, type_url: str) -> None:
    async with plane.plane(*everything()) as running, connect(running.port, form) as stream:
        response = await stream.ask(type_url, "one", "ghost")
        assert len(response.resources) == 1
        assert not response.resource_errors
        if form is Form.DELTA:
            assert not response.resources[0].HasField("ttl")
            assert list(response.removed_resources) == ["ghost"]
        else:
            assert response.resources[0].type_url == type_url  # not wrapped in a `Resource`


@FORMS
@pytest.mark.parametrize(
    ("node", "type_url", "said"),
    [
        (None, CLUSTER, "node"),
        ({"cluster": "shop/edge"}, CLUSTER, "node"),
        (plane.NODE, "", "type_url"),
        ({"id": "lost", "cluster": "edge"}, CLUSTER, "Gateway"),
    ],
)
async def test_rules_2_and_4_bad_first_requests(
    form: Form, node: dict[str, str] | None, type_url: str, said: str
) -> None:
    async with plane.plane(*everything()) as running, connect(running.port, form, node=node) as stream:
        await stream.send(type_url)
        code, details = await stream.end()
        assert code == "INVALID_ARGUMENT"
        assert said in details
        await net.until("the stream is gone", lambda: not running.ledger.proxies())


@FORMS
async def test_rule_2_another_type_on_a_single_type_service(form: Form) -> None:
    async with plane.plane() as running, connect(running.port, form, *SINGLE[CLUSTER]) as stream:
        await stream.send(LISTENER)
        assert (await stream.end())[0] == "INVALID_ARGUMENT"


async def test_garbage_ends_the_stream_and_nothing_else() -> None:
    async with plane.plane(*everything()) as running:
        async with connect(running.port) as stream:
            await stream.call.write(b"\xff\xff\xff")
            assert (await stream.end())[0] == "INVALID_ARGUMENT"
        async with connect(running.port) as stream:
            assert await stream.ask(CLUSTER) is not None


@FORMS
async def test_rule_3_the_first_node_counts_for_the_whole_stream(form: Form) -> None:
    async with plane.plane(*everything()) as running, connect(running.port, form) as stream:
        await stream.ask(CLUSTER)
        await stream.send(LISTENER, node={"id": "somebody else", "cluster": "other/gateway"})
        assert (await stream.read()).type_url == LISTENER
        [proxy] = running.ledger.proxies()
        assert (proxy.node.id, proxy.group) == ("proxy-1", "shop/edge")
        assert running.views.uses == {"shop/edge": 1}


@FORMS
async def test_rule_6_an_unserved_type_does_not_end_the_stream(form: Form) -> None:
    async with plane.plane(*everything()) as running, connect(running.port, form) as stream:
        await stream.send("type.googleapis.com/envoy.service.runtime.v3.Runtime", **stream.names("rtds"))
        assert (await stream.ask(CLUSTER)).type_url == CLUSTER


@FORMS
async def test_rule_8_overlapping_streams_of_one_node(form: Form) -> None:
    async with plane.plane(*everything()) as running, connect(running.port, form) as new:
        async with connect(running.port, form) as old:
            await old.ask(CLUSTER)
            await new.ask(CLUSTER)
            assert len(running.ledger.proxies()) == 2
        await net.until("the old stream is gone", lambda: len(running.ledger.proxies()) == 1)
        plane.put(running.view, resource.make(LISTENER, "new", b""))
        response = await new.ask(LISTENER)
        assert len(response.resources) == 2
        assert running.views.uses == {"shop/edge": 1}


@FORMS
async def test_rule_9_who_comes_early_waits_for_the_first_configuration(form: Form) -> None:
    async with plane.plane() as running:
        running.views.ready.clear()
        async with connect(running.port, form) as stream:
            await stream.send(CLUSTER)
            early = asyncio.create_task(stream.read())
            await net.until("held", lambda: running.server.throttle.waiting)
            assert not running.views.uses
            running.views.ready.set()
            assert (await early).type_url == CLUSTER
        assert not running.server.throttle.waiting


@FORMS
async def test_rule_9_unavailable_before_the_first_configuration(form: Form) -> None:
    async with plane.plane(throttle=config.Throttle(wait=0.05)) as running:
        running.views.ready.clear()
        async with connect(running.port, form) as stream:
            await stream.send(CLUSTER)
            assert await stream.end() == ("UNAVAILABLE", "the first configuration is not built yet")
        running.views.ready.set()
        async with connect(running.port, form) as stream:
            assert (await stream.ask(CLUSTER)).type_url == CLUSTER


@FORMS
async def test_rule_90_who_waits_for_the_first_configuration_is_told_of_the_end(form: Form) -> None:
    async with plane.plane(throttle=config.Throttle(wait=3600.0)) as running:
        running.views.ready.clear()
        async with connect(running.port, form) as stream:
            await stream.send(CLUSTER)
            await net.until("held", lambda: running.server.throttle.waiting)
            stopping = asyncio.create_task(running.server.stop(0))
            assert (await stream.end())[0] == "UNAVAILABLE"
            await stopping


@FORMS
async def test_rule_7_many_streams_on_one_connection(form: Form) -> None:
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with (
        plane.plane(*everything(), throttle=config.Throttle(building=300)) as running,
        grpc.aio.insecure_channel(f"127.0.0.1:{running.port}", options) as channel,
    ):
        prefix = "Delta" if form is Form.DELTA else "Stream"
        method = f"/envoy.service.endpoint.v3.EndpointDiscoveryService/{prefix}Endpoints"
        streams = [plane.Stream(channel, method, form, plane.NODE) for _ in range(300)]
        answers = await asyncio.gather(*(stream.ask("", "one") for stream in streams))
        assert {len(answer.resources) for answer in answers} == {1}
        assert len(running.ledger.proxies()) == 300


@FORMS
async def test_changes_reach_the_client_and_acks_the_ledger(form: Form) -> None:
    async with plane.plane(*everything()) as running, connect(running.port, form) as stream:
        response = await stream.ask(ENDPOINT, "one")
        assert state(running, ENDPOINT) is Status.STALE
        await stream.ack(response, "one")
        await net.until("synced", lambda: state(running, ENDPOINT) is Status.SYNCED)
        plane.put(running.view, resource.make(ENDPOINT, "one", b"\n\x03two"))
        response = await stream.read()
        assert len(response.resources) == 1
        more = {"resource_names": ["one"]} if form is Form.SOTW else {}
        await stream.send(
            ENDPOINT, response_nonce=response.nonce, error_detail={"message": "no good"}, **more
        )
        await net.until("an error", lambda: state(running, ENDPOINT) is Status.ERROR)
        [proxy] = running.ledger.proxies()
        assert proxy.types[ENDPOINT].error == "no good"
        assert proxy.types[ENDPOINT].error_names == ("one",)


def state(running: plane.Plane, type_url: str) -> Status:
    [proxy] = running.ledger.proxies()
    return proxy.types[type_url].status


@FORMS
async def test_rule_82_a_client_that_does_not_read_holds_up_nobody(form: Form) -> None:
    big = [resource.make(CLUSTER, f"c{n}", bytes(200_000)) for n in range(100)]
    async with (
        plane.plane(*big) as running,
        connect(running.port, form) as stuck,
        connect(running.port, form) as other,
    ):
        await stuck.send(CLUSTER)  # 20 MB that nobody reads
        assert len((await other.ask(CLUSTER)).resources) == 100
        for number in range(20):
            plane.put(running.view, resource.make(LISTENER, "l", str(number).encode()))
        assert len((await other.ask(LISTENER)).resources) == 1


@FORMS
async def test_rule_90_half_close_ends_with_ok(form: Form) -> None:
    async with plane.plane(*everything()) as running, connect(running.port, form) as stream:
        await stream.ask(CLUSTER)
        await stream.call.done_writing()
        assert (await stream.end())[0] == "OK"
        await net.until("released", lambda: running.views.uses == {"shop/edge": 0})
        assert not running.view._followers


@FORMS
async def test_rule_90_shutdown_ends_streams_with_unavailable(form: Form) -> None:
    async with plane.plane(*everything()) as running:
        async with connect(running.port, form) as one, connect(running.port, form) as two:
            await one.ask(CLUSTER)
            await two.ask(CLUSTER)
            _, first, second = await asyncio.gather(running.server.stop(0.2), one.end(), two.end())
            assert first[0] == second[0] == "UNAVAILABLE"
        assert running.ledger.proxies() == []
        assert running.views.uses == {"shop/edge": 0}


async def test_rule_90_who_waits_for_its_turn_at_shutdown_is_told_so_and_gets_nothing() -> None:
    throttle = config.Throttle(building=1, patience=60.0, wait=60.0)
    async with (
        plane.plane(*everything(), throttle=throttle) as running,
        connect(running.port) as first,
        connect(running.port) as second,
    ):
        await first.ask(CLUSTER)
        await second.send(CLUSTER)
        await net.until("the second waits", lambda: running.server.throttle.waiting == 1)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(running.server.stop(5.0))
            await net.until("draining", lambda: running.server._draining)
            await first.call.done_writing()
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await second.read()
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        assert running.views.uses == {"shop/edge": 0}


async def test_rule_90_a_fault_tells_the_client_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with plane.plane(*everything()) as running:

        def fail(group: str) -> None:
            raise RuntimeError("the secret of shop/other")

        running.views.acquire = fail  # type: ignore[assignment,method-assign]
        async with connect(running.port) as stream:
            await stream.send(CLUSTER)
            code, details = await stream.end()
        assert (code, details) == ("INTERNAL", "internal error")
        assert "the secret of shop/other" in caplog.text


async def test_rule_90_a_fault_at_a_change_is_that_streams_alone(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        plane.plane(*everything()) as running,
        connect(running.port) as first,
        connect(running.port) as second,
    ):
        await first.ask(CLUSTER)
        response = await second.ask(CLUSTER)
        await second.ack(response)
        broken = running.ledger.streams()[0].session
        assert broken is not None

        def fail(changes: object, now: float) -> bool:
            raise RuntimeError("a bug")

        broken.change = fail  # type: ignore[method-assign]
        plane.put(running.view, plane.cluster("new"))
        assert [item.name for item in (await second.read()).resources] == ["new"]
        assert await first.end() == ("INTERNAL", "internal error")
        assert "a bug" in caplog.text


async def test_a_rejected_node_is_told_so_before_anything_is_built() -> None:
    rules = (config.NodeRule(id="bad-*", reject=True),)
    async with plane.plane(*everything(), nodes=rules) as running:
        async with connect(running.port, node={"id": "bad-1", "cluster": "shop/edge"}) as stream:
            await stream.send(CLUSTER)
            assert (await stream.end())[0] == "PERMISSION_DENIED"
        assert running.views.uses == {}


async def test_message_limit() -> None:
    async with plane.plane(max_message=100_000) as running, connect(running.port) as stream:
        await stream.send(ENDPOINT, **stream.names(*(f"{'x' * 100}{n}" for n in range(2000))))
        assert (await stream.end())[0] == "RESOURCE_EXHAUSTED"


async def test_connection_age_ends_streams_and_the_client_comes_back_to_silence() -> None:
    async with plane.plane(*everything(), max_connection_age=0.3, max_connection_age_grace=0.1) as running:
        async with connect(running.port) as stream:
            response = await stream.ask(CLUSTER)
            assert (await stream.end())[0] in ("UNAVAILABLE", "CANCELLED")
        async with connect(running.port) as stream:
            versions = {item.name: item.version for item in response.resources}
            await stream.send(CLUSTER, initial_resource_versions=versions)
            assert (await stream.ask(LISTENER)).type_url == LISTENER  # nothing came for CDS


async def test_a_taken_port_is_an_error_and_not_shared() -> None:
    async with plane.plane() as running:
        second = Server(config.Xds(port=running.port), running.views, running.ledger)
        with pytest.raises(OSError, match=str(running.port)):
            await second.start()


async def test_loopback_is_the_default() -> None:
    async with plane.plane() as running:
        assert config.Xds().address == "127.0.0.1"
        with socket.create_connection(("127.0.0.1", running.port)):
            pass
        address = socket.gethostbyname(socket.gethostname())
        if not address.startswith("127."):
            with pytest.raises(OSError), socket.create_connection((address, running.port), timeout=2):
                pass


# Many at once


async def test_rule_92_one_after_another_gets_its_first_configuration() -> None:
    """A stream has its place until it has answered all that it was sent; nothing is made for those that
    wait."""
    throttle = config.Throttle(building=1, patience=20.0, wait=20.0)
    async with (
        plane.plane(*everything(), throttle=throttle) as running,
        connect(running.port) as first,
        connect(running.port) as second,
    ):
        response = await first.ask(CLUSTER)
        await second.send(CLUSTER)
        await net.until("the second waits", lambda: running.server.throttle.waiting == 1)
        assert len(running.ledger.proxies()) == 1
        assert running.views.uses == {"shop/edge": 1}
        await first.ack(response)
        assert (await second.read()).resources
        # Its next types cost no place: the first one may ask while the second has one.
        assert (await first.ask(LISTENER)).resources


async def test_rule_92_who_would_wait_too_long_is_turned_away() -> None:
    throttle = config.Throttle(building=1, wait=0.01)
    async with (
        plane.plane(*everything(), throttle=throttle) as running,
        connect(running.port) as first,
        connect(running.port) as second,
    ):
        await first.ask(CLUSTER)
        await second.send(CLUSTER)
        assert (await second.end())[0] == "RESOURCE_EXHAUSTED"
        assert running.server.throttle.refused == 1
        assert running.views.uses == {"shop/edge": 1}


async def test_rule_92_who_does_not_answer_keeps_nobody_out() -> None:
    throttle = config.Throttle(building=1, patience=0.05, wait=20.0)
    async with (
        plane.plane(*everything(), throttle=throttle) as running,
        connect(running.port) as mute,
        connect(running.port) as second,
    ):
        await mute.ask(CLUSTER)
        assert (await second.ask(CLUSTER)).resources
