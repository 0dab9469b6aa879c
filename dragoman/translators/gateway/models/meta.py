"""What the kinds share: the decorator that makes a shape, scalar types with the CRDs' limits, references.

Scalars are strict where Kubernetes is: `port: "80"` is an error there and here. Durations are seconds
once decoded.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import typing
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Final, Literal, TypeVar, dataclass_transform

import pydantic
from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

GATEWAY_GROUP: Final = "gateway.networking.k8s.io"
DRAGOMAN_GROUP: Final = "dragoman.dev"
DISCOVERY_GROUP: Final = "discovery.k8s.io"
CORE_GROUP: Final = ""
INT32: Final = 2**31 - 1

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def shape(cls: type[T]) -> type[T]:
    """A shape whose schema is ours to enforce: unknown fields are errors."""
    return _make(cls, "forbid")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def excerpt(cls: type[T]) -> type[T]:
    """The part that we read of a kind with many more fields (core kinds): unknown fields are passed over."""
    return _make(cls, "ignore")


def _make(cls: type[T], extra: Literal["forbid", "ignore"]) -> type[T]:
    # Pydantic reads it when the first object of its kind comes (`validation`): looking into each shape on
    # import would take a fifth of a second.
    made = dataclasses.dataclass(frozen=True, slots=True, kw_only=True)(cls)
    made.__pydantic_config__ = pydantic.ConfigDict(  # type: ignore[attr-defined]
        extra=extra, alias_generator=to_camel
    )
    return made


@functools.cache
def names(shape: type) -> Mapping[str, str]:
    """Python's name of each field -> its name in YAML."""
    hints = typing.get_type_hints(shape, include_extras=True)
    return {name: _alias(hints[name]) or to_camel(name) for name in _fields(shape)}


def quiet(shape: type) -> frozenset[str]:
    """The fields that are shown to nobody."""
    return frozenset(name for name, each in _fields(shape).items() if not each.repr)


def _fields(shape: Any) -> dict[str, dataclasses.Field[Any]]:
    return {each.name: each for each in dataclasses.fields(shape)}


def _alias(hint: Any) -> str | None:
    notes = typing.get_args(hint)[1:] if typing.get_origin(hint) is Annotated else ()
    return next(
        (note.alias for note in notes if isinstance(note, pydantic.fields.FieldInfo) and note.alias), None
    )


_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"

Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Bool = Annotated[bool, Field(strict=True)]
Group = Annotated[str, Field(max_length=253, pattern=rf"^$|^{_SUBDOMAIN}$")]
Kind = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$")]
ObjectName = Annotated[str, Field(min_length=1, max_length=253)]
Namespace = Annotated[str, Field(min_length=1, max_length=63, pattern=rf"^{_LABEL}$")]
SectionName = Annotated[str, Field(min_length=1, max_length=253, pattern=rf"^{_SUBDOMAIN}$")]
Hostname = Annotated[str, Field(min_length=1, max_length=253, pattern=rf"^(\*\.)?{_SUBDOMAIN}$")]
PreciseHostname = Annotated[str, Field(min_length=1, max_length=253, pattern=rf"^{_SUBDOMAIN}$")]
HeaderName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$")]
HeaderValue = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[!-~]+([\t ]?[!-~]+)*$")]
Controller = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern=rf"^{_SUBDOMAIN}\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$"),
]

_DURATION = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}")
_TERM = re.compile(r"([0-9]+)(ms|h|m|s)")
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def seconds(value: Any) -> float:
    """A Gateway API duration (GEP-2257: `1h`, `1m30s`, `250ms`) in seconds."""
    if not isinstance(value, str) or _DURATION.fullmatch(value) is None:
        raise PydanticCustomError("duration", "expected a duration such as 250ms, 10s, 1m30s or 2h")
    return round(sum(int(number) * _UNITS[unit] for number, unit in _TERM.findall(value)), 3)


Duration = Annotated[
    float,
    BeforeValidator(seconds),
    WithJsonSchema({"type": "string", "format": "duration", "pattern": rf"^{_DURATION.pattern}$"}),
]


_WINDOWS: Final = {
    "Second": 1.0,
    "Minute": 60.0,
    "Hour": 3600.0,
    "Day": 86_400.0,
    "Week": 604_800.0,
    "Month": 2_592_000.0,
}


def window(value: Any) -> float:
    """A length of time by its name, or as a duration; in seconds."""
    if isinstance(value, str) and value in _WINDOWS:
        return _WINDOWS[value]
    try:
        found = seconds(value)
    except PydanticCustomError:
        found = 0.0
    if found < 0.05:
        words = ", ".join(_WINDOWS)
        raise PydanticCustomError(
            "window", f"expected one of {words}, or a duration of 50ms at least, such as 90s"
        )
    return found


Window = Annotated[float, BeforeValidator(window), WithJsonSchema({"type": "string"})]


@shape
class ParentReference:
    """From a route to what it wants to be attached to."""

    name: ObjectName
    group: Group = GATEWAY_GROUP
    kind: Kind = "Gateway"
    namespace: Namespace | None = None
    section_name: SectionName | None = None
    port: Port | None = None


@shape
class BackendObjectReference:
    """To a backend. `port` is the Service's, not the target port."""

    name: Annotated[ObjectName, Field(description="Name of the Service or Backend.")]
    group: Annotated[Group, Field(description="API group: nothing for a Service.")] = ""
    kind: Annotated[Kind, Field(description="`Service`, or `Backend` of `dragoman.dev`.")] = "Service"
    namespace: Annotated[
        Namespace | None, Field(description="Its namespace; left out: that of the object which refers to it.")
    ] = None
    port: Annotated[Port | None, Field(description="The Service's port; a Backend has none.")] = None


@shape
class BackendRef(BackendObjectReference):
    """To one of several backends that share what arrives."""

    weight: Annotated[
        int,
        Field(strict=True, ge=0, le=1_000_000, description="Its share, as against the others'. Default: 1."),
    ] = 1


@shape
class SecretObjectReference:
    """To a Secret (or, elsewhere, another kind of certificate store)."""

    name: ObjectName
    group: Group = ""
    kind: Kind = "Secret"
    namespace: Namespace | None = None


@shape
class ObjectReference:
    """To any object."""

    group: Group
    kind: Kind
    name: ObjectName
    namespace: Namespace | None = None


@shape
class LocalObjectReference:
    """To an object of the same namespace."""

    group: Group
    kind: Kind
    name: ObjectName


@shape
class LabelRequirement:
    """One line of a label selector. `In` and `NotIn` need values, the others must have none."""

    key: Annotated[str, Field(description="The label's name.")]
    operator: Annotated[
        Literal["In", "NotIn", "Exists", "DoesNotExist"], Field(description="What must hold of the label.")
    ]
    values: Annotated[tuple[str, ...], Field(description="The values that `In` and `NotIn` look for.")] = ()


@shape
class LabelSelector:
    """All of it must hold; empty selects everything."""

    match_labels: Annotated[dict[str, str], Field(description="Labels that it has, with their values.")] = (
        field(default_factory=dict)
    )
    match_expressions: Annotated[
        tuple[LabelRequirement, ...], Field(description="What else its labels must meet.")
    ] = ()
