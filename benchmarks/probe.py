"""One keep-alive connection to Envoy that asks again and again until the answer is the wanted one.

A plain blocking socket: the poller must not add an event loop's turn to what it measures.
"""

from __future__ import annotations

import socket
import time

PAUSE = 0.0005


class Probe:
    """`until(host, b"x-revision: 7")` returns the time at which the first such answer was read."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self.unexpected = 0

    def ask(self, host: str) -> bytes:
        """The whole response, head and body. Connects anew where Envoy closed."""
        for _ in range(3):
            try:
                if self._socket is None:
                    self._socket = socket.create_connection(("127.0.0.1", self._port), 30)
                    self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._socket.sendall(f"GET / HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
                answer = self._read()
                if b"\r\nconnection: close\r\n" in answer.partition(b"\r\n\r\n")[0].lower() + b"\r\n":
                    self.close()
                return answer
            except OSError:
                self.close()
                time.sleep(PAUSE)
        return b""

    def _read(self) -> bytes:
        assert self._socket is not None
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line[15:])
        while len(body) < length:
            body += self._more()
        return head + b"\r\n\r\n" + body

    def _more(self) -> bytes:
        assert self._socket is not None
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError("closed by Envoy")
        return data

    def until(self, host: str, wanted: bytes, *, limit: float = 60.0, pause: float = PAUSE) -> float:
        """Polls every `pause` seconds; `TimeoutError` after `limit` seconds. Answers that are neither 200
        nor 404 are counted.
        """
        end = time.perf_counter() + limit
        while True:
            answer = self.ask(host)
            now = time.perf_counter()
            if wanted in answer:
                return now
            if not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 404")):
                self.unexpected += 1
            if now > end:
                raise TimeoutError(f"{host}: no {wanted!r} within {limit:g} s; last {answer[:200]!r}")
            time.sleep(pause)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
