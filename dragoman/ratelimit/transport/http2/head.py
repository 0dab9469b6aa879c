"""What a request's header list says: method path, timeout, and whether it is a gRPC request at all.

Made once per distinct header block (`connection` keeps them), so the checks of RFC 9113 section 8 and of
gRPC's PROTOCOL-HTTP2.md cost nothing in the usual case.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Final

from dragoman.ratelimit.transport import base
from dragoman.ratelimit.transport.http2 import hpack

_PSEUDO: Final = frozenset((b":method", b":scheme", b":path", b":authority"))
# Section 8.2.2: not allowed in HTTP/2.
_CONNECTION: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
# HTTP's and gRPC's own: not metadata.
_RESERVED: Final = frozenset((b"te", b"content-type", b"content-length", b"user-agent", b"host"))

_UPPER: Final = re.compile(rb"[A-Z\x00-\x20\x7f-\xff:]")
_CONTROL: Final = re.compile(rb"[\x00\r\n]|^[ \t]|[ \t]$")
_TIMEOUT: Final = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


# Fields that were looked at before; most come with every request. Emptied when it is full.
_sound: set[hpack.Pair] = set()
_SOUND: Final = 1024
_SHORT: Final = 64


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a well-formed request gets no further, and with which HTTP status that is said."""

    status: base.Status
    http: int = 200


@dataclass(frozen=True, slots=True)
class Head:
    """A request's header list. `timeout` in seconds; `encoding` is `grpc-encoding`; `length` is
    `content-length`. `malformed` is why the stream is an error (section 8.1.1)."""

    path: str = ""
    timeout: float | None = None
    encoding: str = "identity"
    length: int | None = None
    metadata: base.Metadata = ()
    malformed: str = ""
    refusal: Refusal | None = None


TOO_LARGE: Final = Head(
    refusal=Refusal(base.Status(base.Code.RESOURCE_EXHAUSTED, "the request's headers are too large"))
)


def read(pairs: Sequence[hpack.Pair], methods: Container[str]) -> Head:
    """The request of a header list. A method that is not among `methods` is refused."""
    pseudo: dict[bytes, bytes] = {}
    fields: dict[bytes, bytes] = {}
    metadata: list[tuple[str, str]] = []
    for pair in pairs:
        name, value = pair
        if name[:1] == b":":
            if fields or name not in _PSEUDO or name in pseudo:
                return Head(malformed="a pseudo-header out of place")
            pseudo[name] = value
            continue
        if pair not in _sound:
            fault = _fault(name, value)
            if fault:
                return Head(malformed=fault)
            if len(value) <= _SHORT:
                if len(_sound) >= _SOUND:
                    _sound.clear()
                _sound.add(pair)
        fields[name] = value
        if name not in _RESERVED and name[:5] != b"grpc-":
            metadata.append((name.decode("ascii"), value.decode("latin-1")))
    method, path = pseudo.get(b":method"), pseudo.get(b":path")
    if method is None or not path or b":scheme" not in pseudo:
        return Head(malformed="a pseudo-header is missing")
    if _CONTROL.search(path):
        return Head(malformed="a path with control characters")
    length = fields.get(b"content-length", b"")
    if length and not length.isdigit():
        return Head(malformed="content-length is no number")
    timeout, refusal = None, _refusal(method, path, fields, methods)
    if refusal is None and b"grpc-timeout" in fields:
        timeout = _seconds(fields[b"grpc-timeout"].decode("latin-1"))
        if timeout is None:
            refusal = Refusal(base.Status(base.Code.INTERNAL, "malformed grpc-timeout"))
        elif timeout == 0:
            refusal = Refusal(base.Status(base.Code.DEADLINE_EXCEEDED, "the deadline has passed"))
    return Head(
        path.decode("latin-1"),
        timeout,
        fields.get(b"grpc-encoding", b"identity").decode("latin-1"),
        int(length[:18]) if length else None,
        tuple(metadata),
        "",
        refusal,
    )


def trailers(pairs: Sequence[hpack.Pair]) -> bool:
    """Whether these may end a request (section 8.1): no pseudo-headers."""
    return not any(name[:1] == b":" or _fault(name, value) for name, value in pairs)


def _fault(name: bytes, value: bytes) -> str:
    """Section 8.2.1 and 8.2.2."""
    if not name or _UPPER.search(name):
        return "a field name with characters that are not allowed"
    if _CONTROL.search(value):
        return "a field value with characters that are not allowed"
    if name in _CONNECTION or (name == b"te" and value != b"trailers"):
        return "a connection-specific field"
    return ""


def _refusal(
    method: bytes, path: bytes, fields: dict[bytes, bytes], methods: Container[str]
) -> Refusal | None:
    if method != b"POST":
        return Refusal(base.Status(base.Code.INTERNAL, "gRPC requests are POST"), 405)
    kind = fields.get(b"content-type", b"")
    if kind != b"application/grpc" and not kind.startswith((b"application/grpc+", b"application/grpc;")):
        return Refusal(base.Status(base.Code.INVALID_ARGUMENT, "the content-type is not gRPC's"), 415)
    if path.decode("latin-1") not in methods:
        return Refusal(base.Status(base.Code.UNIMPLEMENTED, "there is no such method here"))
    return None


def _seconds(text: str) -> float | None:
    """gRPC's Timeout: at most eight digits and a unit."""
    match = _TIMEOUT.fullmatch(text)
    return int(match[1]) * _UNITS[match[2]] if match else None
