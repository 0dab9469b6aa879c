"""What an echo backend answers, whatever the protocol that carried the request.

The answers are those of the Gateway API conformance suite's `echo-basic` image: JSON that repeats the
request, and paths and headers that ask for something else. `backend` speaks the wire protocols and calls
`answer`.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answers."""

    pod: str
    service: str = ""
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Tls:
    """The handshake behind a request: the name asked for, and the client's certificate as PEM, if any."""

    version: str
    server_name: str = ""
    peer: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived. `target` is path and query as sent; header names keep their case."""

    method: str
    target: str
    host: str
    proto: str
    headers: tuple[tuple[str, str], ...]
    tls: Tls | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """`delay` in seconds, before the first byte. `reset`: close the connection instead of answering."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0
    reset: bool = False


@dataclass(slots=True)
class Echo:
    """One pod's behaviour. Notes targets and times of requests; keeps count of tries per uuid
    for `/retry`, as the original does, in memory."""

    identity: Identity
    tries: dict[str, int] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def answer(self, request: Request) -> Answer:
        url = urlsplit(request.target)
        query = parse_qs(url.query)
        self.seen.append(request.target)
        self.times.append(time.monotonic())
        delay = _seconds(query.get("delay", ["0"])[0])
        extra = (("x-pod", self.identity.pod), *_asked_headers(request))
        if url.path.startswith("/retry"):
            failed = self._retry(query)
            if failed is not None:
                return failed
        status = 200
        if url.path.startswith("/status/"):
            last = url.path.rsplit("/", 1)[1]
            status = int(last) if last.isdigit() else 200
        for name, value in request.headers:
            if name.lower() == "x-echo-status":
                status = int(value)
        body = json.dumps(self._describe(request), separators=(",", ":")).encode()
        return Answer(status, body, (("content-type", "application/json"), *extra), delay)

    def _retry(self, query: dict[str, list[str]]) -> Answer | None:
        """The failure that this try gets, or None once it may succeed."""
        uuid = query.get("uuid", [""])[0]
        wanted = int(query.get("succeedAfter", ["0"])[0])
        tried = self.tries[uuid] = self.tries.get(uuid, 0) + 1
        if tried > wanted:
            return None
        code = query.get("responseCode", [""])[0]
        if not code:
            return Answer(reset=True)
        return Answer(int(code), b"", (("x-pod", self.identity.pod),))

    def _describe(self, request: Request) -> dict[str, object]:
        headers: dict[str, list[str]] = {}
        for name, value in request.headers:
            headers.setdefault("-".join(part.capitalize() for part in name.split("-")), []).append(value)
        return {
            "path": request.target,
            "host": request.host,
            "method": request.method,
            "proto": request.proto,
            "headers": headers,
            "namespace": self.identity.namespace,
            "ingress": "",
            "service": self.identity.service,
            "pod": self.identity.pod,
            **({"tls": _handshake(request.tls)} if request.tls else {}),
        }


def _handshake(tls: Tls) -> dict[str, object]:
    return {
        "version": tls.version,
        "serverName": tls.server_name,
        **({"peerCertificates": [tls.peer]} if tls.peer else {}),
    }


def _seconds(text: str) -> float:
    """Go's durations as the suite uses them: `1s`, `500ms`."""
    if text.endswith("ms"):
        return float(text[:-2]) / 1000
    return float(text.removesuffix("s") or 0)


def _asked_headers(request: Request) -> tuple[tuple[str, str], ...]:
    """`X-Echo-Set-Header: N:v, N2:v2` asks for response headers."""
    out = []
    for name, value in request.headers:
        if name.lower() == "x-echo-set-header":
            for pair in value.split(","):
                key, _, text = pair.partition(":")
                out.append((key.strip().lower(), text.strip()))
    return tuple(out)
