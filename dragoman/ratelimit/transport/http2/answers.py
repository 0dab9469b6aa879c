"""Response header blocks (RFC 9113 section 8.3.2; gRPC PROTOCOL-HTTP2.md, "Responses").

Literals without indexing and without Huffman: constants that need no state, cheap to make and to read.
"""

from __future__ import annotations

from typing import Final

from dragoman.ratelimit.transport import base

_MESSAGE: Final = 1024  # bytes of grpc-message at most


def _literal(name: bytes, value: bytes) -> bytes:
    """RFC 7541 section 6.2.2, with a new name."""
    return b"\x00" + _string(name) + _string(value)


def _string(text: bytes) -> bytes:
    length = len(text)
    if length < 0x7F:
        return bytes((length,)) + text
    rest = length - 0x7F
    out = bytearray((0x7F,))
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out) + text


# `:status: 200` is static entry 8; `content-type` is 31, which takes two bytes (15 + 16).
_OK: Final = b"\x88"
_CONTENT_TYPE: Final = b"\x0f\x10" + _string(b"application/grpc")

HEADERS: Final = _OK + _CONTENT_TYPE
"""What comes before a response message."""

TRAILERS: Final = _literal(b"grpc-status", b"0")
"""What comes after it."""

# gRPC's compression.md: a peer that compressed is told what we take.
_IDENTITY: Final = _literal(b"grpc-accept-encoding", b"identity")


def refusal(status: base.Status, http: int = 200) -> bytes:
    """The one block of a trailers-only response. `http` other than 200 is for what is no gRPC request."""
    parts = [_OK if http == 200 else b"\x08" + _string(str(http).encode()), _CONTENT_TYPE]
    parts.append(_literal(b"grpc-status", str(int(status.code)).encode()))
    if status.message:
        parts.append(_literal(b"grpc-message", escape(status.message)))
    if status.code is base.Code.UNIMPLEMENTED:
        parts.append(_IDENTITY)
    return b"".join(parts)


def escape(message: str) -> bytes:
    """Percent-encoding of `grpc-message`: all but printable ASCII without the percent sign."""
    escaped = "".join(
        chr(byte) if 0x20 <= byte <= 0x7E and byte != 0x25 else f"%{byte:02X}"
        for byte in message.encode(errors="replace")
    )
    return escaped[:_MESSAGE].encode()
