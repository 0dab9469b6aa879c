"""RateLimitResponse, written by hand: a few bytes that are mostly the same for every answer of a limit.

Building the message takes several times as long as all the rest of a call from memory. What is written here
is what protobuf would write, byte by byte (a test says so, field by field). Called by `service`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any, Final

from dragoman import proto
from dragoman.proto import varint
from dragoman.ratelimit import rules

OK: Final = 1
OVER_LIMIT: Final = 2

UNLIMITED: Final = (1 << 32) - 1

SECONDS: Final[dict[str, int]] = {
    "second": 1,
    "minute": 60,
    "hour": 3600,
    "day": 86_400,
    "week": 7 * 86_400,
    "month": 30 * 86_400,
    "year": 365 * 86_400,
}
"""The units of time, as envoyproxy/ratelimit has them."""

_UNITS: Final = {"second": 1, "minute": 2, "hour": 3, "day": 4, "week": 7, "month": 5, "year": 6}
"""RateLimitResponse.RateLimit.Unit."""


_varint: Final = functools.lru_cache(1 << 14)(varint.write)


def _bytes(tag: int, value: bytes) -> bytes:
    return bytes((tag,)) + _varint(len(value)) + value


def _text(tag: int, value: str) -> bytes:
    return _bytes(tag, value.encode("utf-8", "replace")) if value else b""


def unit(window: int) -> tuple[str, int]:
    """A window in microseconds as so many units, the largest that fit; ("", 0) for what is no whole number of
    seconds, which `current_limit` cannot say.
    """
    seconds, rest = divmod(window, 1_000_000)
    if rest or not seconds:
        return "", 0
    name = next(name for name in reversed(SECONDS) if seconds % SECONDS[name] == 0)
    return name, seconds // SECONDS[name]


def current_limit(limit: rules.Limit) -> bytes:
    """The field `current_limit` of a status; empty for a limit that is none."""
    algorithm = limit.algorithm
    if algorithm is None:
        return b""
    name, number = unit(algorithm.window)
    out = b"\x08" + _varint(algorithm.limit) if algorithm.limit else b""
    if name:
        out += b"\x10" + _varint(_UNITS[name])
    out += _text(0x1A, limit.name)
    if number > 1:
        out += _bytes(0x22, b"\x08" + _varint(number))
    return _bytes(0x12, out)


def status(code: int, limit: bytes, remaining: int, seconds: int) -> bytes:
    """A field `statuses` of the response. `limit` is `current_limit`'s; without one there is no duration."""
    out = bytes((8, code)) + limit
    if limit:
        return _bytes(0x12, out + rest(remaining, seconds))
    return _bytes(0x12, out + b"\x18" + _varint(remaining) if remaining else out)


@functools.lru_cache(1 << 14)
def rest(remaining: int, seconds: int) -> bytes:
    """What follows `current_limit` in a status."""
    out = b"\x18" + _varint(min(remaining, UNLIMITED)) if remaining else b""
    return out + _bytes(0x22, b"\x08" + _varint(seconds) if seconds else b"")


def field(tag: int, value: bytes) -> bytes:
    """A length-delimited field, present however short it is."""
    return _bytes(tag, value)


def header(name: str, value: str) -> bytes:
    """A field `response_headers_to_add` of the response."""
    return _bytes(0x1A, _text(0x0A, name) + _text(0x12, value))


def body(text: bytes) -> bytes:
    """The field `raw_body` of the response."""
    return _bytes(0x2A, text) if text else b""


def metadata(data: Mapping[str, Any]) -> bytes:
    """The field `dynamic_metadata` of the response."""
    from dragoman.proto.google.protobuf import Struct

    return _bytes(0x32, proto.serialize(proto.from_dict(Struct, data))) if data else b""


def response(code: int, statuses: Iterable[bytes], *more: bytes) -> bytes:
    """The whole message; `more` are headers, body and metadata, in this order."""
    return bytes((8, code)) + b"".join(statuses) + b"".join(more)
