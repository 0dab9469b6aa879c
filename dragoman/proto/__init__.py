"""The one door to Envoy's protobuf messages.

Messages come from `descriptors.binpb`, extracted from the Envoy binary when the package is built
(`extract.py`), and live in a private DescriptorPool: nothing clashes with other libraries that own names like
``envoy`` or ``xds``, and the default pool stays untouched.  A protobuf package is imported as a module below
this one::

    from dragoman.proto.envoy.config.route import v3 as route
    from dragoman.proto.google.protobuf import Duration

    route.VirtualHost(name="shop")

Importing is cheap: the descriptor file is read when the first such module is imported, and a package's files
are taken into the pool when its first message class is asked for.  `envoy/`, `xds/` and the services use it;
nothing else touches protobuf.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.message import DecodeError, EncodeError, Message

from dragoman.proto import packages as _packages

if TYPE_CHECKING:
    from google.protobuf.descriptor_pool import DescriptorPool

    from dragoman.proto.google.protobuf import Any as AnyMessage

__all__ = [
    "TYPE_URL_PREFIX",
    "DecodeError",
    "EncodeError",
    "Message",
    "UnknownNameError",
    "add_file",
    "from_dict",
    "merge_dict",
    "message",
    "pack_any",
    "pool",
    "serialize",
    "to_dict",
    "type_url",
    "unpack_any",
]

TYPE_URL_PREFIX = "type.googleapis.com/"

M = TypeVar("M", bound=Message)

UnknownNameError = _packages.UnknownNameError


def pool() -> DescriptorPool:
    """The private pool with all of Envoy's files; 35 ms at the first call."""
    return _packages.pool()


def add_file(body: bytes) -> None:
    """Adds messages that Envoy does not have to the private pool: a serialised FileDescriptorProto."""
    _packages.add(body)


def message(full_name: str) -> type[Message]:
    """The class of the message `full_name` (``envoy.config.route.v3.Route``, or a type URL).

    Raises UnknownNameError, which names near misses, if Envoy has no such message.
    """
    return _packages.message(full_name.removeprefix(TYPE_URL_PREFIX))


def type_url(of: type[Message] | Message | str) -> str:
    """``type.googleapis.com/`` and the full name of a message class, a message, or a full name."""
    name = of if isinstance(of, str) else of.DESCRIPTOR.full_name
    return TYPE_URL_PREFIX + name


def serialize(value: Message) -> bytes:
    """The bytes of `value`; equal messages give equal bytes (maps are sorted)."""
    return value.SerializeToString(deterministic=True)


def pack_any(value: Message, *, deterministic: bool = True) -> AnyMessage:
    """`value` in a ``google.protobuf.Any`` of the private pool."""
    payload = value.SerializeToString(deterministic=deterministic)
    packed: AnyMessage = _packages.any_class()(
        type_url=TYPE_URL_PREFIX + value.DESCRIPTOR.full_name, value=payload
    )
    return packed


def unpack_any(packed: AnyMessage) -> Message:
    """The message inside an ``Any``, as a class of the private pool.

    Raises UnknownNameError for a type that Envoy does not have, DecodeError for bytes that are not of that
    type.
    """
    return _packages.message(packed.type_url.rpartition("/")[2]).FromString(packed.value)


def to_dict(
    value: Message, *, proto_names: bool = True, defaults: bool = False, enums_as_ints: bool = False
) -> dict[str, Any]:
    """`value` as plain JSON data, with every ``Any`` expanded (``@type``).

    Field names are those of the .proto files unless `proto_names` is False (then lowerCamelCase); `defaults`
    also writes fields without presence that hold their default.
    """
    from google.protobuf import json_format

    return json_format.MessageToDict(
        value,
        preserving_proto_field_name=proto_names,
        always_print_fields_with_no_presence=defaults,
        use_integers_for_enums=enums_as_ints,
        descriptor_pool=_packages.pool(),
    )


def from_dict(cls: type[M], data: Mapping[str, Any], *, ignore_unknown: bool = False) -> M:
    """A message of class `cls` from plain JSON data (names in either spelling, ``Any`` as ``@type``).

    Raises ValueError (``json_format.ParseError`` is one) that says which field is wrong.
    """
    return merge_dict(cls(), data, ignore_unknown=ignore_unknown)


def merge_dict(into: M, data: Mapping[str, Any], *, ignore_unknown: bool = False) -> M:
    """Like from_dict, but merged into the message `into`, which is returned."""
    from google.protobuf import json_format

    # Only an `Any` may name what is not there yet.
    known = _packages.pool() if "@type" in repr(data) else _packages.partial()
    try:
        json_format.ParseDict(
            dict(data), into, ignore_unknown_fields=ignore_unknown, descriptor_pool=known
        )
    except json_format.ParseError as error:
        raise ValueError(str(error)) from error
    return into
