"""The messages of Envoy's ClientStatusDiscoveryService.

Envoy's binary does not carry csds.proto (no Envoy speaks it as a client), so the four messages and the enum
are declared here, field for field as in envoy/service/status/v3/csds.proto, and added to the private pool.
The deprecated `xds_config` is left out. Used by `csds` and its tests.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Final

from dragoman import proto
from dragoman.proto.google.protobuf import FileDescriptorProto

PACKAGE: Final = "envoy.service.status.v3"
SERVICE: Final = f"{PACKAGE}.ClientStatusDiscoveryService"

_STATUS: Final = ("UNKNOWN", "SYNCED", "NOT_SENT", "STALE", "ERROR")
_LABELS: Final = {"optional": 1, "repeated": 3}
_SCALARS: Final = {"bool": 8, "string": 9}

_GENERIC: Final = (
    ("optional", "string", "type_url", 1),
    ("optional", "string", "name", 2),
    ("optional", "string", "version_info", 3),
    ("optional", ".google.protobuf.Any", "xds_config", 4),
    ("optional", ".google.protobuf.Timestamp", "last_updated", 5),
    ("optional", f"enum .{PACKAGE}.ConfigStatus", "config_status", 6),
    ("optional", "enum .envoy.admin.v3.ClientResourceStatus", "client_status", 7),
    ("optional", ".envoy.admin.v3.UpdateFailureState", "error_state", 8),
    ("optional", "bool", "is_static_resource", 9),
)
_REQUEST: Final = (
    ("repeated", ".envoy.type.matcher.v3.NodeMatcher", "node_matchers", 1),
    ("optional", ".envoy.config.core.v3.Node", "node", 2),
    ("optional", "bool", "exclude_resource_contents", 3),
)
_CONFIG: Final = (
    ("optional", ".envoy.config.core.v3.Node", "node", 1),
    ("repeated", f".{PACKAGE}.ClientConfig.GenericXdsConfig", "generic_xds_configs", 3),
    ("optional", "string", "client_scope", 4),
)
_RESPONSE: Final = (("repeated", f".{PACKAGE}.ClientConfig", "config", 1),)


@dataclass(frozen=True, slots=True)
class Messages:
    """The classes; `status` maps the names of ConfigStatus to numbers."""

    request: Any
    response: Any
    client_config: Any
    generic: Any
    status: dict[str, int]


@functools.cache
def messages() -> Messages:
    """Declares the messages at the first call."""
    proto.add_file(_file().SerializeToString())
    client_config = proto.message(f"{PACKAGE}.ClientConfig")
    return Messages(
        proto.message(f"{PACKAGE}.ClientStatusRequest"),
        proto.message(f"{PACKAGE}.ClientStatusResponse"),
        client_config,
        proto.message(f"{PACKAGE}.ClientConfig.GenericXdsConfig"),
        {name: number for number, name in enumerate(_STATUS)},
    )


def _file() -> FileDescriptorProto:
    file = FileDescriptorProto(
        name="envoy/service/status/v3/csds.proto",
        package=PACKAGE,
        syntax="proto3",
        dependency=[
            "envoy/admin/v3/config_dump_shared.proto",
            "envoy/config/core/v3/base.proto",
            "envoy/type/matcher/v3/node.proto",
            "google/protobuf/any.proto",
            "google/protobuf/timestamp.proto",
        ],
    )
    enum = file.enum_type.add(name="ConfigStatus")
    for number, name in enumerate(_STATUS):
        enum.value.add(name=name, number=number)
    for name, fields in (
        ("ClientStatusRequest", _REQUEST),
        ("ClientConfig", _CONFIG),
        ("ClientStatusResponse", _RESPONSE),
    ):
        _declare(file.message_type.add(name=name), fields)
    _declare(file.message_type[1].nested_type.add(name="GenericXdsConfig"), _GENERIC)
    return file


def _declare(message: Any, fields: tuple[tuple[str, str, str, int], ...]) -> None:
    for label, kind, name, number in fields:
        field = message.field.add(name=name, number=number, label=_LABELS[label])
        if kind in _SCALARS:
            field.type = _SCALARS[kind]
        else:
            is_enum = kind.startswith("enum ")
            field.type = 14 if is_enum else 11
            field.type_name = kind.removeprefix("enum ")
