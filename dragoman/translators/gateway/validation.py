"""Plain data into shapes, and equal parts into one object.

Of ten thousand routes most say the same in most places: the same parent, the same filter, the path `/`. Such
parts are validated once, by their JSON, and the object is put where the data was: pydantic takes an instance
of a shape as it is. That saves a quarter of the time, and a third of the memory of a plain HTTPRoute.
`decode` calls it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import orjson
import pydantic

from dragoman.translators.gateway.models import endpointslice, grpcroute, httproute, meta, service

_BEGIN: Final = 100
"""So many objects of a kind come before its parts are shared: each part has a validator, which takes
milliseconds to build.
"""
_KEPT: Final = 2048
"""How many different ones of a part are known at once."""
_LONGEST: Final = 512
"""Bytes of JSON up to which a part is kept."""
# Nothing that JSON would make equal to something else.
_EXACT: Final = (
    orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
)

_Plan = Mapping[str, Any]
"""Field -> the shape of its items, or the plan for its value, or for each of them in a list."""

_PLANS: Final[Mapping[type, _Plan]] = {
    httproute.HttpRoute: {
        "parentRefs": meta.ParentReference,
        "rules": {"matches": httproute.Match, "filters": httproute.Filter},
    },
    grpcroute.GrpcRoute: {
        "parentRefs": meta.ParentReference,
        "rules": {"matches": grpcroute.Match, "filters": httproute.Filter},
    },
    service.Service: {"spec": {"ports": service.ServicePort}},
    endpointslice.EndpointSlice: {"ports": endpointslice.EndpointPort},
}


_LISTS: Final[Mapping[type, tuple[str, ...]]] = {
    httproute.HttpRoute: ("parent_refs",),
    httproute.Rule: ("matches", "filters"),
    grpcroute.GrpcRoute: ("parent_refs",),
    grpcroute.Rule: ("matches", "filters"),
    service.ServiceSpec: ("ports",),
    endpointslice.EndpointSlice: ("ports",),
}
"""Shape -> its lists of parts that are shared; most are lists of one."""


@functools.cache
def validator(shape: type) -> Callable[[Any], Any]:
    """Makes a shape of plain data, or raises `pydantic.ValidationError`. Built when the first object of its
    kind comes: all of them at once would cost every command 70 ms."""
    validate: Callable[[Any], Any] = pydantic.TypeAdapter(shape).validator.validate_python
    return validate


class _Shared(NamedTuple):
    """The objects of one shape that are known, by their JSON."""

    validate: Callable[[Any], Any]
    known: dict[bytes, Any]


@functools.cache
def _shared(shape: type) -> _Shared:
    return _Shared(validator(shape), {})


_seen: Final[dict[type, int]] = {}
_lists: Final[dict[int, tuple[Any, ...]]] = {}
"""Lists of one part, by the address of that part, which stays there for as long as its list is here."""


def share(shape: type, given: Any) -> Any:
    """The data of one object with objects for those parts that are known or good. What is wrong stays as it
    is, and says so when the whole is validated."""
    plan = _PLANS.get(shape)
    if plan is None:
        return given
    seen = _seen[shape] = _seen.get(shape, 0) + 1
    return _within(plan, given) if seen > _BEGIN else given


def share_lists(made: Any) -> None:
    """Puts the same list into all objects that have a list of the same one part. `made` is new: nobody has
    seen it yet."""
    if type(made) not in _PLANS or _seen.get(type(made), 0) <= _BEGIN:
        return
    _share_lists(made)
    for part in (made.spec,) if isinstance(made, service.Service) else getattr(made, "rules", ()):
        _share_lists(part)


def _share_lists(made: Any) -> None:
    for field in _LISTS.get(type(made), ()):
        found = getattr(made, field)
        if len(found) == 1:
            if len(_lists) >= _KEPT:
                _lists.clear()
            known = _lists.setdefault(id(found[0]), found)
            if known is not found:
                object.__setattr__(made, field, known)


def _within(plan: _Plan, given: Any) -> Any:
    if type(given) is not dict:
        return given
    made = given
    for field, below in plan.items():
        value = given.get(field)
        if not value:
            continue
        if made is given:
            made = given.copy()
        if type(below) is dict:
            many = type(value) is list
            made[field] = [_within(below, item) for item in value] if many else _within(below, value)
        elif type(value) is list:
            made[field] = _items(_shared(below), value)
    return made


def _items(shared: _Shared, given: list[Any]) -> list[Any]:
    out = []
    for item in given:
        try:
            key = orjson.dumps(item, option=_EXACT) if type(item) is dict else b""
            found = shared.known.get(key) if key else item
            if found is None:
                found = shared.validate(item)
                if len(key) <= _LONGEST:
                    if len(shared.known) >= _KEPT:
                        shared.known.clear()
                    shared.known[key] = found
        except (TypeError, ValueError):  # no JSON, or no good: pydantic's error is one of the latter
            found = item
        out.append(found)
    return out
