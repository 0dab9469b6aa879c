"""Protobuf framing: a finished message as one entry of a repeated field.

Concatenated fields are legal protobuf: a route's bytes go into its virtual host, the host's into its
bucket, the bucket's into the route table, each serialised once and joined ever after. The encoders of this
package use it; field numbers come from Envoy's own descriptors.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from dragoman import proto
from dragoman.proto import varint

_LENGTH_DELIMITED = 2


@functools.cache
def tag(message: str, field: str) -> bytes:
    """The bytes before each entry of `field` (message, string or bytes) of `message` (its full name)."""
    number: int = proto.message(message).DESCRIPTOR.fields_by_name[field].number
    return varint.write(number << 3 | _LENGTH_DELIMITED)


def frame(before: bytes, payload: bytes) -> bytes:
    """`payload` as one entry of the field whose `tag` is `before`."""
    return b"%b%b%b" % (before, varint.write(len(payload)), payload)


def head(before: bytes, size: int) -> bytes:
    """What stands before `size` bytes that are one entry of that field."""
    return before + varint.write(size)


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
