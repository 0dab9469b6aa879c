"""The floor: a gRPC server that knows nothing and sends bytes made in advance.

Run as `python -m benchmarks.bare PORT STATE.pickle`. `STATE` holds, by type, the resources of the first
answer, and numbered variants of one resource. A line `push N` on stdin sends variant N to every stream, as
one pre-serialised response. No snapshot, no subscription state, no ordering, no hashes: whatever a control
plane costs comes on top.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio

from benchmarks import wire

Named = dict[str, tuple[str, bytes]]  # name -> version, payload


@dataclass(slots=True)
class State:
    """`variants`: number -> (type URL, name, version, payload)."""

    resources: dict[str, Named] = field(default_factory=dict)
    variants: list[tuple[str, str, str, bytes]] = field(default_factory=list)


def any_of(type_url: str, payload: bytes) -> bytes:
    return wire.text(1, type_url) + wire.text(2, payload)


def delta_response(type_url: str, named: Named, nonce: str) -> bytes:
    items = (
        wire.text(2, wire.text(3, name) + wire.text(1, version) + wire.text(2, any_of(type_url, payload)))
        for name, (version, payload) in named.items()
    )
    return b"".join(items) + wire.text(4, type_url) + wire.text(5, nonce)


def sotw_response(type_url: str, named: Named, nonce: str) -> bytes:
    items = (wire.text(2, any_of(type_url, payload)) for _, payload in named.values())
    return wire.text(1, nonce) + b"".join(items) + wire.text(4, type_url) + wire.text(5, nonce)


class Server:
    """Answers the first request of each type, and those for more names; then only pushes."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._streams: set[asyncio.Queue[bytes]] = set()
        self._streams_sotw: set[asyncio.Queue[bytes]] = set()

    def push(self, number: int) -> None:
        type_url, name, version, payload = self._state.variants[number]
        self._state.resources[type_url][name] = (version, payload)
        if self._streams:
            once = delta_response(type_url, {name: (version, payload)}, version)
            for queue in self._streams:
                queue.put_nowait(once)
        if self._streams_sotw:
            once = sotw_response(type_url, self._state.resources[type_url], version)
            for queue in self._streams_sotw:
                queue.put_nowait(once)

    async def delta(self, requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
        async for response in self._serve(requests, self._streams, self._delta_answer):
            yield response

    async def sotw(self, requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
        async for response in self._serve(requests, self._streams_sotw, self._sotw_answer):
            yield response

    async def _serve(self, requests, streams, answer) -> AsyncIterator[bytes]:  # type: ignore[no-untyped-def]
        queue: asyncio.Queue[bytes] = asyncio.Queue()

        async def read() -> None:
            async for request in requests:
                made = answer(request)
                if made is not None:
                    queue.put_nowait(made)

        reader = asyncio.create_task(read())
        streams.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            streams.discard(queue)
            reader.cancel()

    def _delta_answer(self, request: bytes) -> bytes | None:
        found = list(wire.fields(request))
        type_url = next(value for number, value in found if number == 2).decode()
        names = [value.decode() for number, value in found if number == 3]
        if any(number == 6 for number, _ in found) and not names:
            return None
        every = self._state.resources.get(type_url, {})
        chosen = {name: every[name] for name in names if name in every} if names else every
        return delta_response(type_url, chosen, "0") if chosen else None

    def _sotw_answer(self, request: bytes) -> bytes | None:
        found = list(wire.fields(request))
        type_url = next(value for number, value in found if number == 4).decode()
        if any(number == 5 for number, _ in found):
            return None
        every = self._state.resources.get(type_url, {})
        return sotw_response(type_url, every, "0") if every else None


async def main(port: int, state: State) -> None:
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)])
    handlers = Server(state)
    methods = {
        "DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(handlers.delta),
        "StreamAggregatedResources": grpc.stream_stream_rpc_method_handler(handlers.sotw),
    }
    service = "envoy.service.discovery.v3.AggregatedDiscoveryService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    print("ready", flush=True)
    while line := await commands.readline():
        handlers.push(int(line.split()[1]))
    os._exit(0)  # nothing to save; grpc.aio would log every stream that it cancels


if __name__ == "__main__":
    # Pickled by whoever imports this module by its name.
    from benchmarks.bare import State as _State

    loaded = pickle.loads(Path(sys.argv[2]).read_bytes())
    assert isinstance(loaded, _State)
    asyncio.run(main(int(sys.argv[1]), loaded))
