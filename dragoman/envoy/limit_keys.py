"""What of a request a limit counts by, as expressions (CEL): for descriptors, and for quotas' headers.

Envoy skips a descriptor whose expression has an error, and the request passes: so each expression has a value
for whatever a request lacks. Called by `ratelimits` and the filter of quotas.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final

from dragoman.envoy.filters import clients
from dragoman.ir import ratelimit

_FOUND: Final = "metadata.filter_metadata"
_CLIENT: Final = f'{_FOUND}["{clients.NAMESPACE}"]["{clients.CLIENT}"]'
_KNOWN: Final = f'"{clients.NAMESPACE}" in {_FOUND} && "{clients.CLIENT}" in {_FOUND}["{clients.NAMESPACE}"]'
_ABSENT: Final = f'"{ratelimit.ABSENT}"'


def part(part: ratelimit.KeyPart) -> str:
    """The value of a part of a key. A header's name has neither quotes nor backslashes."""
    match part.part:
        case ratelimit.Part.PATH:
            return "request.url_path"
        case ratelimit.Part.METHOD:
            return "request.method"
        case ratelimit.Part.HOST:
            return "request.host"
        case ratelimit.Part.CONSUMER:
            # Envoy's expressions cannot join texts: the whole name has a field of its own.
            return f'{_KNOWN} ? ("key" in {_CLIENT} ? {_CLIENT}["key"] : {_CLIENT}["id"]) : {_ABSENT}'
        case ratelimit.Part.PLAN:
            return _said("plan")
        case ratelimit.Part.API_KEY:
            return _said("credential")
        case _:
            name = f'"{part.name}"'
            found = f"request.headers[{name}]"
            return f'{name} in request.headers && {found} != "" ? {found} : {_ABSENT}'


def _said(field: str) -> str:
    """What is said of the client, if anything."""
    found = f'{_CLIENT}["{field}"]'
    return f'{_KNOWN} && "{field}" in {_CLIENT} && {found} != "" ? {found} : {_ABSENT}'


def plan(plans: Iterable[ratelimit.Plan]) -> str:
    """The client's plan, if it is one of these."""
    names = ", ".join(text(plan.name) for plan in plans)
    return f'{_KNOWN} && {_CLIENT}["plan"] in [{names}] ? {_CLIENT}["plan"] : {_ABSENT}'


def costs(path: Sequence[str], value: str, *, said: bool) -> str:
    """`value` where metadata say a cost; or where they say none, without `said`. Else an error, on purpose:
    there is to be no descriptor then. Each look is at what is known to be there, since another error would
    be no descriptor at all."""
    found = _FOUND
    holds: list[str] = []
    for step in path:
        name = text(step)
        holds += [f"type({found}) == map"] if holds else []
        holds.append(f"{name} in {found}")
        found = f"{found}[{name}]"
    holds += [f"type({found}) == double", f"{found} >= 1.0", f"{found} < 1000000000.0"]
    there = " && ".join(holds)
    return f"{there if said else f'!({there})'} ? {text(value)} : {_FOUND}[{_ABSENT}]"


def met(conditions: Iterable[ratelimit.Condition]) -> str:
    """Whether a request meets all of these."""
    return " && ".join(map(_met, conditions)) or "true"


def _met(condition: ratelimit.Condition) -> str:
    name = text(condition.header)
    found = f"request.headers[{name}]"
    if condition.value is None:
        holds = f"{name} in request.headers"
    elif condition.regex:
        holds = f"{name} in request.headers && {found}.matches({text(f'^(?:{condition.value})$')})"
    else:
        holds = f"{name} in request.headers && {found} == {text(condition.value)}"
    return f"!({holds})" if condition.invert else f"({holds})"


def text(value: str) -> str:
    """`value` as a literal. Percent signs are escaped: they end a command in Envoy's format strings."""
    return json.dumps(value, ensure_ascii=False).replace("%", "\\u0025")
