"""Protobuf framing: a finished message as one entry of a repeated field.

Concatenated fields are legal protobuf: a route's bytes go into its virtual host, the host's into its
bucket, the bucket's into the route table, each serialised once and joined ever after. The encoders of this
package use it; field numbers come from Envoy's own descriptors.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from dragoman import proto

_LENGTH_DELIMITED = 2


def varint(number: int) -> bytes:
    """`number` (not negative) in protobuf's base-128 form."""
    if number < 0x80:
        return bytes((number,))
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


@functools.cache
def tag(message: str, field: str) -> bytes:
    """The bytes before each entry of `field` (message, string or bytes) of `message` (its full name)."""
    number: int = proto.message(message).DESCRIPTOR.fields_by_name[field].number
    return varint(number << 3 | _LENGTH_DELIMITED)


def frame(before: bytes, payload: bytes) -> bytes:
    """`payload` as one entry of the field whose `tag` is `before`."""
    return b"%b%b%b" % (before, varint(len(payload)), payload)


def head(before: bytes, size: int) -> bytes:
    """What stands before `size` bytes that are one entry of that field."""
    return before + varint(size)


def entries(chunk: bytes) -> Iterator[bytes]:
    """The payloads of `frame`s one after the other, of a field whose tag is one byte."""
    at = 0
    while at < len(chunk):
        at += 1
        size = shift = 0
        while True:
            byte = chunk[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        yield chunk[at : at + size]
        at += size
