"""Simulated proxies: many ADS streams, each on its own TCP connection, in one epoll loop.

Run as `python -m benchmarks.proxies PORT[,PORT...] COUNT delta|sotw NAMES.json`; `fanout` and `fleet` talk to
it by lines. With several ports the proxies take turns, as behind a load balancer. It prints a JSON line
`served` once every stream has been served and it has been quiet for a while. `arm TYPE` (answered `armed`)
starts a count; when every stream has ACKed a response of that type it prints a JSON line with the monotonic
time of the first and the last ACK. `return` (answered `returning`) expects the servers to go: streams come
back with Envoy's back-off, with nothing in hand, and when all are served again it prints a JSON line with the
time, and how many attempts there were.
"""

from __future__ import annotations

import heapq
import json
import random
import resource
import select
import socket
import sys
import time
from pathlib import Path

from benchmarks import wire


class Stream:
    """One proxy. `feed` takes bytes off the socket and answers what is to be answered."""

    __slots__ = (
        "_buffer",
        "_delta",
        "_message",
        "_names",
        "_waiting",
        "_windows",
        "number",
        "received",
        "responses",
        "sock",
    )

    def __init__(self, port: int, number: int, delta: bool, names: dict[str, tuple[str, ...]]) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = number
        self._buffer = b""
        self._message = b""
        self._waiting = b""
        self._windows = [65535, 65535]  # what the server still takes: of the connection, of the stream
        self._delta = delta
        self._names = names
        self.received = 0
        self.responses: dict[bytes, int] = {}
        subscribe = wire.delta_subscribe if delta else wire.sotw_subscribe
        who = wire.node(number)
        self.sock.sendall(wire.hello("DeltaAggregatedResources" if delta else "StreamAggregatedResources"))
        for type_url, wanted in names.items():
            self._send(wire.message(subscribe(type_url, wanted, who)))
            who = b""

    def _send(self, data: bytes) -> None:
        """Sends as much as the server's windows let through; the rest goes when they open."""
        self._waiting += data
        size = min(len(self._waiting), *self._windows)
        if size <= 0:
            return
        now, self._waiting = self._waiting[:size], self._waiting[size:]
        self._windows = [window - size for window in self._windows]
        self.sock.sendall(b"".join(wire.frames(now)))

    def feed(self) -> list[bytes]:
        """The type URLs of the responses that were ACKed."""
        data = self.sock.recv(262144)
        if not data:
            raise ConnectionResetError("the server ended a stream")
        self._buffer = data = self._buffer + data if self._buffer else data
        at, acked, control, answers = 0, [], b"", b""
        while len(data) - at >= 9:
            size = int.from_bytes(data[at : at + 3], "big")
            if len(data) - at - 9 < size:
                break
            kind, flags, stream = data[at + 3], data[at + 4], data[at + 8]
            payload = data[at + 9 : at + 9 + size]
            at += 9 + size
            if kind == wire.DATA:
                self.received += size
                self._message += payload
                more, types = self._messages()
                answers += more
                acked += types
            elif kind == wire.WINDOW:
                self._windows[stream] += int.from_bytes(payload, "big")
            elif kind == wire.SETTINGS and not flags & 1:
                control += wire.frame(wire.SETTINGS, 1, 0)
                self._windows[1] += wire.initial_window(payload) - 65535
            elif kind == wire.PING and not flags & 1:
                control += wire.frame(wire.PING, 1, 0, payload)
            elif kind in (wire.RST, wire.GOAWAY):
                raise ConnectionResetError(f"the server ended a stream: {payload!r}")
        self._buffer = data[at:]
        if self.received > 2**29:
            more = self.received.to_bytes(4, "big")
            control += wire.frame(wire.WINDOW, 0, 0, more) + wire.frame(wire.WINDOW, 0, 1, more)
            self.received = 0
        if control:
            self.sock.sendall(control)
        if answers or self._waiting:
            self._send(answers)
        return acked

    def _messages(self) -> tuple[bytes, list[bytes]]:
        """ACKs for every complete response, and their types."""
        out, types = b"", []
        while len(self._message) >= 5:
            size = int.from_bytes(self._message[1:5], "big")
            if len(self._message) < 5 + size:
                break
            type_url = nonce = version = b""
            for number, value in wire.fields(self._message[5 : 5 + size]):
                if number == 4:
                    type_url = value
                elif number == 5:
                    nonce = value
                elif number == 1:
                    version = value
            self._message = self._message[5 + size :]
            if self._delta:
                ack = wire.delta_ack(type_url, nonce)
            else:
                ack = wire.sotw_ack(type_url, nonce, version, self._names[type_url.decode()])
            out += wire.message(ack)
            types.append(type_url)
            self.responses[type_url] = self.responses.get(type_url, 0) + 1
        return out, types


_BASE, _MOST = 0.5, 30.0
"""Seconds: Envoy waits a random part of the base, doubled with each try that fails, before it comes back."""


class Fleet:
    """All proxies of the process."""

    def __init__(self, ports: list[int], count: int, mode: str, names: dict[str, tuple[str, ...]]) -> None:
        self._ports = ports
        self._count = count
        self._delta = mode == "delta"
        self._names = names
        self._poll = select.epoll()
        self._poll.register(sys.stdin.fileno(), select.EPOLLIN)
        self._streams: dict[int, Stream] = {}
        self._opened = 0
        self._unserved = count
        self._last_news = time.monotonic()
        self._announced = False
        self._armed: bytes | None = None
        self._waiting: set[int] = set()
        self._first = 0.0
        self._returning = False
        self._tries: dict[int, int] = {}
        self._absent: list[tuple[float, int]] = []
        self._attempts = 0

    def run(self) -> None:
        while True:
            # A few at a time: no proxy fleet connects within a millisecond, and the backlog is finite.
            for _ in range(min(20, self._count - self._opened)):
                self._insist(self._opened)
                self._opened += 1
            now = time.monotonic()
            for _ in range(20):
                if not self._absent or self._absent[0][0] > now:
                    break
                self._come_back(heapq.heappop(self._absent)[1])
            busy = self._opened < self._count or self._absent
            for fd, _ in self._poll.poll(0.001 if busy else 0.05):
                if fd == sys.stdin.fileno():
                    if not self._told(sys.stdin.readline().split()):
                        return
                else:
                    self._feed(fd)
            quiet = time.monotonic() - self._last_news > 0.7
            if not self._announced and self._opened == self._count and self._unserved == 0 and quiet:
                self._announced = True
                print(json.dumps({"served": self._last_news}), flush=True)

    def _told(self, line: list[str]) -> bool:
        if not line:
            return False
        if line[0] == "arm":
            self._armed, self._waiting, self._first = line[1].encode(), set(self._streams), 0.0
            print("armed", flush=True)
        else:
            self._returning = True
            print("returning", flush=True)
        return True

    def _port(self, number: int) -> int:
        return self._ports[(number + self._tries.get(number, 0)) % len(self._ports)]

    def _open(self, number: int) -> None:
        stream = Stream(self._port(number), number, self._delta, self._names)
        self._streams[stream.sock.fileno()] = stream
        self._poll.register(stream.sock.fileno(), select.EPOLLIN)

    def _insist(self, number: int) -> None:
        """Waits for a server that is not up yet, like a proxy does, but with shorter pauses."""
        while True:
            try:
                return self._open(number)
            except ConnectionRefusedError:
                time.sleep(0.01)

    def _feed(self, fd: int) -> None:
        stream = self._streams[fd]
        before = len(stream.responses)
        try:
            acked = stream.feed()
        except ConnectionError:
            if self._announced and not self._returning:
                raise
            del self._streams[fd]
            stream.sock.close()
            if len(stream.responses) == len(self._names):
                self._unserved += 1
            if self._returning or stream.responses:
                self._leave(stream.number)
            else:
                # Too early: a control plane that has not read everything yet turns streams away.
                time.sleep(0.02)
                self._insist(stream.number)
            return
        if acked:
            self._last_news = time.monotonic()
        if len(stream.responses) == len(self._names) > before:
            self._unserved -= 1
            self._tries.pop(stream.number, None)
            if self._returning and self._unserved == 0:
                self._returning = False
                print(json.dumps({"back": self._last_news, "attempts": self._attempts}), flush=True)
        if self._armed is not None and self._armed in acked and fd in self._waiting:
            self._waiting.discard(fd)
            self._first = self._first or self._last_news
            if not self._waiting:
                print(json.dumps({"first": self._first, "last": self._last_news}), flush=True)
                self._armed = None

    def _leave(self, number: int) -> None:
        tries = self._tries[number] = self._tries.get(number, -1) + 1
        pause = random.uniform(0, min(_BASE * 2**tries, _MOST))
        heapq.heappush(self._absent, (time.monotonic() + pause, number))

    def _come_back(self, number: int) -> None:
        self._attempts += 1
        try:
            self._open(number)
        except OSError:
            self._leave(number)


def main(ports: str, count: int, mode: str, names: dict[str, tuple[str, ...]]) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    Fleet([int(port) for port in ports.split(",")], count, mode, names).run()


if __name__ == "__main__":
    wanted = json.loads(Path(sys.argv[4]).read_text())
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], {key: tuple(value) for key, value in wanted.items()})
