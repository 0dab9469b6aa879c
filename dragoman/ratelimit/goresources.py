"""The rules as envoyproxy/ratelimit takes them over xDS: one `RateLimitConfig` for each domain.

The Go service, started with CONFIG_TYPE=GRPC_XDS_SOTW, asks an ADS server for this type and counts by it. Its
messages are not in Envoy, so their few fields are described here, in our own words (numbers and names are the
protocol's: ratelimit/config/ratelimit/v3/rls_conf.proto). A service of January 2026 reads them all but
`quota_mode`, which later versions of the type have. What the type has no place for is said, limit by
limit, and never left out in silence. Serving the resources is the xDS server's business.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Final

from dragoman import proto
from dragoman.ratelimit import rules, wire
from dragoman.ratelimit.algorithms import FixedWindow

PACKAGE: Final = "ratelimit.config.ratelimit.v3"
TYPE_URL: Final = f"{proto.TYPE_URL_PREFIX}{PACKAGE}.RateLimitConfig"

_MESSAGES: Final = {
    "RateLimitConfig": "1 name string, 2 domain string, 3 descriptors *RateLimitDescriptor",
    "RateLimitDescriptor": "1 key string, 2 value string, 3 rate_limit RateLimitPolicy, "
    "4 descriptors *RateLimitDescriptor, 5 shadow_mode bool, 6 detailed_metric bool, 7 quota_mode bool",
    "RateLimitPolicy": "1 unit RateLimitUnit, 2 requests_per_unit uint32, 3 unlimited bool, 4 name string, "
    "5 replaces *RateLimitReplace",
    "RateLimitReplace": "1 name string",
}
_UNITS: Final = {
    "unknown": 0,
    "second": 1,
    "minute": 2,
    "hour": 3,
    "day": 4,
    "month": 5,
    "year": 6,
    "week": 7,
}
_SCALARS: Final = {"string": 9, "bool": 8, "uint32": 13}
"""google.protobuf.FieldDescriptorProto.Type."""
_MESSAGE, _ENUM = 11, 14


@dataclass(frozen=True, slots=True)
class Made:
    """`resources`: RateLimitConfig messages by name, the domain's. `losses`: what they do not say."""

    resources: dict[str, bytes]
    losses: tuple[str, ...]


def make(table: rules.Table) -> Made:
    """All domains of a table."""
    losses: list[str] = []
    resources = {}
    for domain, root in table.roots():
        config = _config_class()(name=domain, domain=domain)
        _below(root, config.descriptors, domain, losses)
        resources[domain] = proto.serialize(config)
    return Made(resources, tuple(losses))


@functools.cache
def _config_class() -> Any:
    """The message class, in the pool of Envoy's messages."""
    from dragoman.proto.google.protobuf import FileDescriptorProto

    file = FileDescriptorProto(name="ratelimit/config/ratelimit/v3/rls_conf.proto", package=PACKAGE)
    file.syntax = "proto3"
    units = file.enum_type.add(name="RateLimitUnit")
    for name, value in _UNITS.items():
        units.value.add(name=name.upper(), number=value)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in fields.split(", "):
            number, field_name, kind = text.split()
            field = message.field.add(name=field_name, number=int(number))
            field.label = 3 if kind.startswith("*") else 1  # type: ignore[assignment]  # repeated, optional
            kind = kind.removeprefix("*")
            if kind in _SCALARS:
                field.type = _SCALARS[kind]  # type: ignore[assignment]
            else:
                field.type = _ENUM if kind == "RateLimitUnit" else _MESSAGE  # type: ignore[assignment]
                field.type_name = f".{PACKAGE}.{kind}"
    proto.add_file(file.SerializeToString())
    return proto.message(TYPE_URL)


def _below(node: rules.Node, into: Any, path: str, losses: list[str]) -> None:
    """The children of a node: exact values, wildcards in their order, then the key alone."""
    for (key, value), child in node.exact.items():
        _descriptor(child, into.add(key=key, value=value), f"{path}.{key}_{value}", losses)
    for key, nodes in node.wild.items():
        for value, child in nodes.items():
            _descriptor(child, into.add(key=key, value=value), f"{path}.{key}_{value}", losses)
    for key, child in node.bare.items():
        _descriptor(child, into.add(key=key), f"{path}.{key}", losses)


def _descriptor(node: rules.Node, into: Any, path: str, losses: list[str]) -> None:
    _below(node, into.descriptors, path, losses)
    limits = node.limits or ()
    if len(limits) > 1:
        losses.append(f"{path}: of {len(limits)} limits the first alone, a descriptor has room for one")
    for limit in limits[:1]:
        into.shadow_mode, into.quota_mode = limit.shadow, limit.quota
        if node.matches and node.matches[-1].measured:
            into.detailed_metric = True
        _policy(limit, into, path, losses)
    if any(match.shared for match in node.matches):
        losses.append(
            f"{path}: values that match a pattern count each by itself (share_threshold has no place)"
        )
    if not all(match.counted for match in node.matches):
        losses.append(f"{path}: each value of every entry has a count of its own")


def _policy(limit: rules.Limit, into: Any, path: str, losses: list[str]) -> None:
    algorithm = limit.algorithm
    policy = into.rate_limit
    policy.name = limit.name
    for name in sorted(limit.replaces):
        policy.replaces.add(name=name)
    if algorithm is None:
        policy.unlimited = True
        return
    unit, number = wire.unit(algorithm.window)
    if number != 1:
        into.ClearField("rate_limit")
        losses.append(
            f"{path}: not limited, for its window is not one second, minute, hour, day, week, month or year"
        )
        return
    policy.unit = _UNITS[unit]
    policy.requests_per_unit = algorithm.limit
    if not isinstance(algorithm, FixedWindow):
        losses.append(f"{path}: counted by fixed windows instead of {algorithm.name}")
    elif not algorithm.count_denied:
        losses.append(f"{path}: denied hits count as well")
    if limit.cost != 1:
        losses.append(f"{path}: a hit costs 1 instead of {limit.cost}")
    if limit.metadata is not None:
        losses.append(f"{path}: without its metadata")
