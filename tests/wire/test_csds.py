"""CSDS over real gRPC: fetch and stream, beside discovery streams of both forms, and who may ask."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from dragoman import config, proto, resource
from dragoman.resource import CLUSTER, ENDPOINT, SECRET
from dragoman.xds.csds_messages import SERVICE, messages
from dragoman.xds.wire import Form
from tests.harness import net
from tests.wire import plane
from tests.wire.plane import connect
from tests.wire.test_tls import SPIFFE, Files, workload

FORMS = pytest.mark.parametrize("form", list(Form))
NAMES = {number: name for name, number in messages().status.items()}


class Asker:
    """A CSDS client."""

    def __init__(self, channel: Any) -> None:
        self.fetching = channel.unary_unary(f"/{SERVICE}/FetchClientStatus")
        self.streaming = channel.stream_stream(f"/{SERVICE}/StreamClientStatus")

    async def fetch(self, **request: Any) -> Any:
        data = proto.from_dict(messages().request, request).SerializeToString()
        return messages().response.FromString(await self.fetching(data, timeout=20))

    async def states(self) -> dict[str, str]:
        """Of every proxy together: name -> state."""
        answer = await self.fetch()
        return {e.name: NAMES[e.config_status] for c in answer.config for e in c.generic_xds_configs}

    async def until(self, **states: str) -> None:
        async def so() -> bool:
            return await self.states() == states

        await net.until(f"states {states}", so)

    async def refused(self, data: bytes) -> tuple[str, str]:
        """Code and details of a failed fetch."""
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await self.fetching(data, timeout=20)
        return failure.value.code().name, failure.value.details()


@contextlib.asynccontextmanager
async def asker(port: int, credentials: Any = None) -> AsyncIterator[Asker]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    opened = (
        grpc.aio.secure_channel(f"localhost:{port}", credentials, options)
        if credentials
        else grpc.aio.insecure_channel(f"127.0.0.1:{port}", options)
    )
    async with opened as channel:
        yield Asker(channel)


@FORMS
async def test_fetch_follows_a_proxy_through_its_states(form: Form) -> None:
    async with (
        plane.plane(resource.make(ENDPOINT, "one", b"\n\x03one")) as running,
        asker(running.port) as csds,
    ):
        assert await csds.states() == {}
        async with connect(running.port, form) as stream:
            response = await stream.ask(ENDPOINT, "one")
            assert await csds.states() == {"one": "STALE"}
            await stream.ack(response, "one")
            await csds.until(one="SYNCED")

            plane.put(running.view, resource.make(ENDPOINT, "one", b"\n\x03two"))
            response = await stream.read()
            assert await csds.states() == {"one": "STALE"}
            more = {"resource_names": ["one"]} if form is Form.SOTW else {}
            await stream.send(
                ENDPOINT, response_nonce=response.nonce, error_detail={"message": "no good"}, **more
            )
            await csds.until(one="ERROR")
            [client] = (await csds.fetch()).config
            [entry] = client.generic_xds_configs
            assert client.node.id == "proxy-1"
            assert entry.error_state.details == "no good"
            assert entry.error_state.last_update_attempt.seconds > 0
            assert entry.error_state.version_info

            plane.put(running.view, resource.make(ENDPOINT, "one", b"\n\x03six"))
            response = await stream.read()
            await stream.ack(response, "one")
            await csds.until(one="SYNCED")
            [client] = (await csds.fetch()).config
            assert not client.generic_xds_configs[0].HasField("error_state")
            assert client.generic_xds_configs[0].xds_config.value == b"\n\x03six"
        await csds.until()


@FORMS
async def test_a_stream_answers_every_request(form: Form) -> None:
    async with (
        plane.plane(resource.make(CLUSTER, "one", b"x")) as running,
        asker(running.port) as csds,
        connect(running.port, form) as stream,
    ):
        await stream.ask(CLUSTER)
        call = csds.streaming()
        for wanted in ("proxy-1", "nobody"):
            request = proto.from_dict(messages().request, {"node_matchers": [{"node_id": {"exact": wanted}}]})
            await call.write(request.SerializeToString())
            answer = messages().response.FromString(await call.read())
            assert [client.node.id for client in answer.config] == [w for w in [wanted] if w == "proxy-1"]
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert (await call.code()).name == "OK"


@FORMS
async def test_contents_are_left_out_on_request_and_those_of_secrets_always(form: Form) -> None:
    resources = (
        resource.make(CLUSTER, "one", b"cluster body"),
        resource.make(SECRET, "key", b"private key", sensitive=True),
    )
    async with (
        plane.plane(*resources) as running,
        asker(running.port) as csds,
        connect(running.port, form) as stream,
    ):
        await stream.ask(CLUSTER)
        await stream.ask(SECRET, "key")
        full = await csds.fetch()
        assert {entry.name for entry in full.config[0].generic_xds_configs} == {"one", "key"}
        assert b"cluster body" in full.SerializeToString()
        assert b"private key" not in full.SerializeToString()
        bare = await csds.fetch(exclude_resource_contents=True)
        assert {entry.name for entry in bare.config[0].generic_xds_configs} == {"one", "key"}
        assert b"cluster body" not in bare.SerializeToString()


async def test_matchers_choose_proxies() -> None:
    async with plane.plane() as running, asker(running.port) as csds, contextlib.AsyncExitStack() as stack:
        for name, role in (("one", "edge"), ("two", "mesh"), ("three", "mesh")):
            node = {"id": name, "cluster": "shop/edge", "metadata": {"role": role}}
            stream = await stack.enter_async_context(connect(running.port, node=node))
            await stream.ask(CLUSTER)
        mesh = {"path": [{"key": "role"}], "value": {"string_match": {"exact": "mesh"}}}
        answer = await csds.fetch(
            node_matchers=[
                {"node_id": {"exact": "one"}},
                {"node_id": {"prefix": "t"}, "node_metadatas": [mesh]},
                {"node_id": {"exact": "one"}, "node_metadatas": [mesh]},
            ]
        )
        assert [client.node.id for client in answer.config] == ["one", "three", "two"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff\xff", "ClientStatusRequest"),
        (
            proto.from_dict(
                messages().request, {"node_matchers": [{"node_id": {"safe_regex": {"regex": "("}}}]}
            ).SerializeToString(),
            "missing )",
        ),
    ],
)
async def test_bad_requests_are_told_so(data: bytes, said: str) -> None:
    async with plane.plane() as running, asker(running.port) as csds, connect(running.port) as stream:
        await stream.ask(CLUSTER)
        code, details = await csds.refused(data)
        assert code == "INVALID_ARGUMENT"
        assert said in details
        call = csds.streaming()
        await call.write(data)
        assert (await call.code()).name == "INVALID_ARGUMENT"


async def test_rule_92_once_certificates_decide_they_bound_what_is_told(tmp_path: Path) -> None:
    files = Files(tmp_path, client_ca=True)
    other = "spiffe://example.org/ns/bank/sa/vault"
    rules = (
        config.NodeRule(san=SPIFFE, gateways=("shop/*",)),
        config.NodeRule(san=other, gateways=("bank/vault",)),
    )
    async with plane.plane(tls=files.tls, nodes=rules) as running:
        shop = files.credentials(workload(files.authority, SPIFFE))
        bank = files.credentials(workload(files.authority, other))
        nobody = files.credentials(workload(files.authority, "spiffe://example.org/ns/x/sa/x"))
        async with (
            connect(running.port, credentials=shop) as one,
            connect(running.port, credentials=bank, node={"id": "vault-1"}) as two,
        ):
            await one.ask(CLUSTER)
            await two.ask(CLUSTER)
            for credentials, seen in ((shop, ["proxy-1"]), (bank, ["vault-1"])):
                async with asker(running.port, credentials) as csds:
                    assert [client.node.id for client in (await csds.fetch()).config] == seen
            async with asker(running.port, nobody) as csds:
                assert (await csds.refused(b""))[0] == "PERMISSION_DENIED"
