"""A Gateway's limits on their way from a control plane to rate-limit services that run elsewhere.

They go over ADS as resources of a type of our own (`resource.LIMITS`), one for each Gateway: a protobuf
StringValue with JSON, in which a service finds what it knows and leaves what it does not, so that the two
need not be of one version. `encode` is called by `runtime`, `decode` by `following`.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from dragoman import proto
from dragoman.ir import model as ir, ratelimit
from dragoman.proto.google.protobuf import StringValue

T = TypeVar("T")

_LEFT_OUT: Final = frozenset(("origin",))


def encode(limits: Iterable[ir.RateLimit]) -> bytes:
    """All limits of a Gateway. The same limits give the same bytes."""
    texts = sorted(json.dumps(_plain(limit), sort_keys=True) for limit in limits)
    return proto.serialize(StringValue(value=f'{{"limits": [{", ".join(texts)}]}}'))


def decode(payload: bytes) -> frozenset[ir.RateLimit]:
    """What `encode` was given. Raises ValueError for what is none, or says what is not known here."""
    try:
        data = json.loads(StringValue.FromString(payload).value)
        return frozenset(_limit(one) for one in data["limits"])
    except (proto.DecodeError, KeyError, TypeError, AttributeError) as failure:
        raise ValueError(f"no rate limits: {failure}") from None


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        fields = (field.name for field in dataclasses.fields(value) if field.name not in _LEFT_OUT)
        return {name: _plain(getattr(value, name)) for name in fields}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value.value if isinstance(value, enum.Enum) else value


def _limit(data: Mapping[str, Any]) -> ir.RateLimit:
    readers: dict[str, Callable[[Any], Any]] = {
        "counting": ratelimit.Counting,
        "where": ratelimit.Where,
        "sharing": ratelimit.Sharing,
        "failure": ratelimit.Failure,
        "key": lambda parts: tuple(_made(ratelimit.KeyPart, one, part=ratelimit.Part) for one in parts),
        "when": lambda conditions: tuple(_made(ratelimit.Condition, one) for one in conditions),
        "plans": lambda plans: tuple(_made(ratelimit.Plan, one) for one in plans),
        "cost": lambda cost: _made(ratelimit.Cost, cost, path=tuple) if cost is not None else None,
        "told": lambda told: _made(ratelimit.Told, told),
    }
    return _made(ir.RateLimit, data, **readers)


def _made(shape: Callable[..., T], data: Mapping[str, Any], **readers: Callable[[Any], Any]) -> T:
    """One value, of the fields that are known here."""
    known = {field.name for field in dataclasses.fields(shape)} - _LEFT_OUT  # type: ignore[arg-type]
    given = {name: readers.get(name, _same)(value) for name, value in data.items() if name in known}
    return shape(**given)


def _same(value: Any) -> Any:
    return value
