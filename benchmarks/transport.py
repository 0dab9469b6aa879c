"""What one unary call costs a server process, over the thin HTTP/2 transport and over grpc.aio.

Both carry the same handler, which answers at once with a rate-limit response made in advance. The load is a
process of its own that writes frames made in advance and counts the ends of answers: it costs little beside
what it measures. Rounds take turns. `python -m benchmarks.transport serve KIND` and `... load` are the
children; the latter takes lines of port, calls and calls in flight.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import select
import socket
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks import processes
from benchmarks.children import Child
from benchmarks.report import Goal, Table, median
from dragoman import proto
from dragoman.proto.envoy.service.ratelimit import v3 as rls
from dragoman.ratelimit.transport import base, grpc_aio, http2
from dragoman.ratelimit.transport.http2 import frames

_METHOD: Final = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
_ROUNDS: Final = 5
_CONNECTIONS: Final = 2
# Calls per round and kind: about half a second of CPU each, many ticks of /proc's clock.
_CALLS: Final = {"thin": 40_000, "aio": 1_500}
_STREAMS: Final = (64, 16, 2)
_TRACED: Final = " traced"  # with a header that differs from call to call
_TITLES: Final = {"thin": "thin", "aio": "grpc.aio"}


def measure(_folder: Path) -> list[Table]:
    """CPU of the server per call, calls per second, and their ratios."""
    kinds = [f"{kind}{loop}" for loop in _loops() for kind in _CALLS]
    cases = [(kind, streams) for kind in kinds for streams in _STREAMS] + [("thin" + _TRACED, _STREAMS[0])]
    cpu: dict[tuple[str, int], list[float]] = {case: [] for case in cases}
    rate: dict[tuple[str, int], list[float]] = {key: [] for key in cpu}
    with contextlib.ExitStack() as stack:
        load = stack.enter_context(Child("benchmarks.transport", "load"))
        servers = {kind: stack.enter_context(Child("benchmarks.transport", "serve", kind)) for kind in kinds}
        ports = {kind: int(server.hear()) for kind, server in servers.items()}
        for kind in kinds:
            run(load, ports[kind], 500, 16)  # warm
        for _ in range(_ROUNDS):
            for case in sorted(cases, key=lambda case: case[1]):
                kind, streams = case[0].removesuffix(_TRACED), case[1]
                calls = _CALLS[kind.partition("+")[0]] // (1 if streams > 2 else 2)
                before = processes.cpu(servers[kind].pid)
                seconds = run(load, ports[kind], calls, streams, traced=case[0] != kind)
                cpu[case].append((processes.cpu(servers[kind].pid) - before) / calls)
                rate[case].append(calls / seconds)
    return [_table(cpu, rate)]


def _table(cpu: dict[tuple[str, int], list[float]], rate: dict[tuple[str, int], list[float]]) -> Table:
    table = Table(
        "Rate-limit transport: one unary call",
        ("transport", "in flight", "server CPU us", "calls/s", "CPU to grpc.aio", "calls/s to grpc.aio"),
        notes=[
            f"medians of {_ROUNDS} rounds that take turns; {_CONNECTIONS} connections",
            "client and server share the machine",
            "traced: a traceparent that differs from call to call",
            "the handler answers at once with bytes made in advance",
        ],
    )
    for kind, streams in cpu:
        name, _, loop = kind.removesuffix(_TRACED).partition("+")
        floor = f"aio+{loop}" if loop else "aio"
        mine, theirs = median(cpu[kind, streams]), median(cpu[floor, streams])
        fast, slow = median(rate[kind, streams]), median(rate[floor, streams])
        title = ", ".join(filter(None, (_TITLES[name], loop, "traced" if kind.endswith(_TRACED) else "")))
        figures = (f"{mine * 1e6:.1f}", f"{fast:,.0f}", f"1/{theirs / mine:.1f}", f"{fast / slow:.1f}x")
        table.rows.append((title, str(streams), *figures))
    for streams in _STREAMS[:2]:
        share = median(cpu["thin", streams]) / median(cpu["aio", streams])
        table.goals.append(Goal(f"thin to grpc.aio, CPU, {streams} in flight", share, 1 / 8, "x"))
        share = median(rate["aio", streams]) / median(rate["thin", streams])
        table.goals.append(Goal(f"grpc.aio to thin, calls/s, {streams} in flight", share, 1 / 8, "x"))
    return table


def _loops() -> list[str]:
    """The standard event loop, and uvloop where it is installed."""
    return ["", "+uvloop"] if importlib.util.find_spec("uvloop") else [""]


def run(load: Child, port: int, calls: int, streams: int, *, traced: bool = False) -> float:
    """So many calls by the child `load`; seconds."""
    load.say(f"{port} {calls} {streams} {int(traced)}")
    return float(load.hear())


# The servers.


async def _serve(kind: str) -> None:
    response = rls.RateLimitResponse(overall_code=rls.RateLimitResponse.Code.OK)
    response.statuses.add(
        code=rls.RateLimitResponse.Code.OK,
        current_limit=rls.RateLimitResponse.RateLimit(
            requests_per_unit=100, unit=rls.RateLimitResponse.RateLimit.Unit.MINUTE
        ),
        limit_remaining=99,
    )
    answer = proto.serialize(response)
    made = {"thin": http2.Server, "aio": grpc_aio.Server}[kind]
    server = made(base.Settings(), {_METHOD: lambda message, call: answer})
    print(await server.start(), flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until the parent closes it
    await server.stop(0.0)


# The load.


class _Load:
    """One connection with so many calls in flight."""

    def __init__(self, port: int, calls: int, streams: int, *, traced: bool) -> None:
        entry = {"entries": [{"key": "remote_address", "value": "10.0.0.1"}]}
        request = proto.serialize(
            proto.from_dict(rls.RateLimitRequest, {"domain": "d", "descriptors": [entry]})
        )
        message = b"\0" + len(request).to_bytes(4, "big") + request
        self._data = frames.frame(frames.DATA, frames.END_STREAM, 0, message)
        self._headers = frames.frame(frames.HEADERS, frames.END_HEADERS, 0, _BLOCK)
        self._traced = traced
        self._left = calls
        self._next = 1
        self._streams = streams
        self._rest = b""
        self._unread = 0
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.open = 0

    def begin(self) -> None:
        self.socket.sendall(frames.PREFACE + frames.settings({}) + frames.SETTINGS_ACK)
        self.fill()

    def fill(self) -> None:
        """New calls up to the number in flight."""
        out = []
        while self.open < self._streams and self._left:
            name = self._next.to_bytes(4, "big")
            if self._traced:
                parent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-%016x-01" % (self._next * 7919 << 20)
                block = _BLOCK + _field(b"traceparent", parent)
                self._headers = frames.frame(frames.HEADERS, frames.END_HEADERS, 0, block)
            out += [self._headers[:5], name, self._headers[9:], self._data[:5], name, self._data[9:]]
            self._next += 2
            self._left -= 1
            self.open += 1
        if out:
            self.socket.sendall(b"".join(out))

    def read(self) -> bool:
        """Takes what there is; whether calls are still open."""
        data = self._rest + self.socket.recv(1 << 18)
        position = 0
        while len(data) - position >= frames.HEADER_SIZE:
            high, low, kind, flags, _ = frames.HEADER.unpack_from(data, position)
            end = position + frames.HEADER_SIZE + (high << 8 | low)
            if end > len(data):
                break
            if kind == frames.DATA:
                self._unread += high << 8 | low
            elif kind == frames.HEADERS and flags & frames.END_STREAM:
                self.open -= 1
            elif kind == frames.PING and not flags:
                ping = data[position + frames.HEADER_SIZE : end]
                self.socket.sendall(frames.ping(ping, ack=True))
            elif kind in (frames.GOAWAY, frames.RST_STREAM):
                raise RuntimeError("the server refuses the load")
            position = end
        self._rest = data[position:]
        if self._unread > frames.DEFAULT_WINDOW // 2:
            self.socket.sendall(frames.window_update(0, self._unread))
            self._unread = 0
        self.fill()
        return self.open > 0


def _field(name: bytes, value: bytes) -> bytes:
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


# POST, http, the method, and what gRPC wants; literals without indexing.
_BLOCK: Final = b"\x83\x86" + b"".join(
    _field(name, value)
    for name, value in (
        (b":path", _METHOD.encode()),
        (b":authority", b"ratelimit"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"grpc-timeout", b"10S"),
    )
)


def _load(port: int, calls: int, streams: int, *, traced: bool) -> float:
    """Seconds."""
    share = calls // _CONNECTIONS, streams // _CONNECTIONS
    loads = [_Load(port, *share, traced=traced) for _ in range(_CONNECTIONS)]
    poll = select.poll()
    by_number = {load.socket.fileno(): load for load in loads}
    for number in by_number:
        poll.register(number, select.POLLIN)
    begun = time.perf_counter()
    for load in loads:
        load.begin()
    while by_number:
        for number, _ in poll.poll():
            if not by_number[number].read():
                poll.unregister(number)
                del by_number[number]
    seconds = time.perf_counter() - begun
    for load in loads:
        load.socket.close()
    return seconds


def main() -> None:
    what, *rest = sys.argv[1:]
    if what == "serve":
        kind, _, loop = rest[0].partition("+")
        if loop:
            uvloop = importlib.import_module("uvloop")
            uvloop.run(_serve(kind))
        else:
            asyncio.run(_serve(kind))
    else:
        for line in sys.stdin:
            port, calls, streams, traced = map(int, line.split())
            print(_load(port, calls, streams, traced=bool(traced)), flush=True)


if __name__ == "__main__":
    main()
