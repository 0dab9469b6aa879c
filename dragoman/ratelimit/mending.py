"""Requests with values that are no text.

Envoy puts what a client has sent into descriptors, whatever bytes they are: of a header, a cookie, a decoded
query. protobuf takes texts in UTF-8 alone, and a call that fails lets the request pass: one such byte would
be a way around all limits. Called by `plans`, for requests that cannot be read as they are.
"""

from __future__ import annotations

import functools
from typing import Any, Final

from dragoman import proto

_PACKAGE: Final = "dragoman.ratelimit"
_OPTIONAL: Final = 1
_REPEATED: Final = 3
_BYTES: Final = 12
_MESSAGE: Final = 11
"""google.protobuf.FieldDescriptorProto.Label and .Type."""


def mended(request: bytes) -> bytes:
    """The RateLimitRequest with U+FFFD for what is no UTF-8 in its descriptors' entries. Raises
    `proto.DecodeError` for what is no request."""
    message = _request().FromString(request)
    for descriptor in message.descriptors:
        for entry in descriptor.entries:
            entry.key, entry.value = _text(entry.key), _text(entry.value)
    return proto.serialize(message)


def _text(value: bytes) -> bytes:
    return value.decode(errors="replace").encode()


@functools.cache
def _request() -> Any:
    """The part of envoy.service.ratelimit.v3.RateLimitRequest that has texts of clients, with bytes in their
    place. Other fields stay what they are."""
    from dragoman.proto.google.protobuf import FileDescriptorProto

    file = FileDescriptorProto(name="dragoman/ratelimit/request.proto", package=_PACKAGE, syntax="proto3")
    for name, field, number, kind in (
        ("Request", "descriptors", 2, "Descriptor"),
        ("Descriptor", "entries", 1, "Entry"),
    ):
        made = file.message_type.add(name=name).field.add(name=field, number=number)
        made.label, made.type = _REPEATED, _MESSAGE  # type: ignore[assignment]
        made.type_name = f".{_PACKAGE}.{kind}"
    entry = file.message_type.add(name="Entry")
    for number, name in enumerate(("key", "value"), 1):
        made = entry.field.add(name=name, number=number)
        made.label, made.type = _OPTIONAL, _BYTES  # type: ignore[assignment]
    proto.add_file(file.SerializeToString())
    return proto.message(f"{_PACKAGE}.Request")
