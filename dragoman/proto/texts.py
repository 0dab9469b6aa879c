"""Messages of Envoy with texts that are none.

Envoy tells others what a client has sent, whatever bytes they are: headers, cookies, a decoded query. protobuf
takes texts in UTF-8 alone, so one such byte of a client's would make a message unreadable, with all else that
it says; and where a call fails, Envoy may let the request pass. Called by the services that Envoy asks or
tells.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from google.protobuf.message import DecodeError, Message

from dragoman.proto import varint

M = TypeVar("M", bound=Message)

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
"""Wire types (protobuf's encoding.md)."""
_SIZES: Final = {_FIXED64: 8, _FIXED32: 4}
_DEEPEST: Final = 100


def parse(kind: type[M], data: bytes) -> M:
    """`kind.FromString`, with U+FFFD for what is no UTF-8. Raises DecodeError for what is no such message."""
    try:
        return kind.FromString(data)
    except DecodeError:
        try:
            mended = _mended(kind.DESCRIPTOR, data, _DEEPEST)
        except (IndexError, ValueError) as failure:
            raise DecodeError(str(failure)) from None
        return kind.FromString(mended)


def _mended(kind: Any, data: bytes, depth: int) -> bytes:
    """A serialised message of the descriptor `kind`, with texts in their places."""
    if not depth:
        raise DecodeError("a message too deep")
    out, position = bytearray(), 0
    while position < len(data):
        begin = position
        tag, position = varint.read(data, position)
        wire = tag & 7
        if wire == _VARINT:
            _, position = varint.read(data, position)
        elif wire in _SIZES:
            position += _SIZES[wire]
        elif wire == _LENGTH:
            size, position = varint.read(data, position)
            value = data[position : position + size]
            if len(value) != size:
                raise DecodeError("a message that ends too early")
            position += size
            field = kind.fields_by_number.get(tag >> 3)
            if field is not None and field.type in (field.TYPE_STRING, field.TYPE_MESSAGE):
                texts = field.type == field.TYPE_STRING
                value = _text(value) if texts else _mended(field.message_type, value, depth - 1)
                out += varint.write(tag) + varint.write(len(value)) + value
                continue
        else:
            raise DecodeError("a group, or no message at all")
        out += data[begin:position]
    return bytes(out)


def _text(value: bytes) -> bytes:
    return value.decode(errors="replace").encode()
