"""Every rule of one RateLimitPolicy by itself: what spans several fields of one limit. Called by `decode`.

Whether a limit is whole is known when all policies are merged: `policies/ratelimits.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from dragoman.diagnostics import Diagnostic, error
from dragoman.refs import Origin, Ref
from dragoman.translators.gateway import matching, rules_policies
from dragoman.translators.gateway.models import ratelimitpolicy as model

_LIMIT: Final = re.compile("[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_NAMED: Final = ("Header", "Cookie", "Query", "Claim")
_SHORTEST: Final = 0.001
_LONGEST: Final = 60.0
"""Seconds of a timeout. Without any Envoy would wait for ever."""
_STATUSES: Final = frozenset(
    (*range(400, 418), *range(421, 425), 426, 428, 429, 431, *range(500, 509), 510, 511)
)
"""Those of `envoy.type.v3.StatusCode`. Envoy refuses others, although it answers them elsewhere."""
_BELONGS: Final = {
    "burst": ("TokenBucket", "LeakyBucket"),
    "delay": ("LeakyBucket",),
    "nodelay": ("LeakyBucket",),
}


def check(ref: Ref, spec: model.RateLimitPolicy) -> Iterator[Diagnostic]:
    """What is wrong with it."""
    yield from rules_policies.check(ref, spec)
    for name, limit in (spec.limits or {}).items():
        where = Origin(ref, ("spec", "limits", name))
        if not _LIMIT.fullmatch(name):
            label = "lower case letters, digits and `-` make a name"
            yield error("DRG1103", f"`{name}` is no name of a limit", where, label=label)
        if limit.algorithm is not None:
            yield from _algorithm(limit.algorithm, where.at("algorithm"))
        if limit.timeout is not None and not _SHORTEST <= limit.timeout <= _LONGEST:
            message = f"a timeout is from {_SHORTEST * 1000:.0f}ms to {_LONGEST:.0f}s"
            yield error("DRG1104", message, where.at("timeout"))
        if limit.status is not None and limit.status not in _STATUSES:
            label = "an error that is registered for HTTP, such as 403, 429 or 503"
            message = f"Envoy denies nothing with status {limit.status}"
            yield error("DRG1104", message, where.at("status"), label=label)
        cost = limit.cost
        if cost is not None and (cost.header is None) == (cost.metadata is None):
            yield error("DRG1108", "a cost is one of `header` and `metadata`", where.at("cost"))
        if cost is not None and cost.metadata is not None and not all(cost.metadata.key.split(".")):
            message = f"`{cost.metadata.key}` is no path of a value"
            yield error("DRG1103", message, where.at("cost", "metadata", "key"))
        yield from _key(limit.key or (), where.at("key"))
        for at, condition in enumerate(limit.when or ()):
            yield from _condition(condition, where.at("when", at))


def _algorithm(given: model.Algorithm, where: Origin) -> Iterator[Diagnostic]:
    for field, kinds in _BELONGS.items():
        if getattr(given, field) is not None and given.type not in kinds:
            message = f"`{field}` is for {' and '.join(kinds)}, not for {given.type}"
            yield error("DRG1108", message, where.at(field))


def _key(given: tuple[model.KeyPart, ...], where: Origin) -> Iterator[Diagnostic]:
    seen: set[tuple[str, str]] = set()
    for at, part in enumerate(given):
        here = where.at(at)
        if part.type in _NAMED and part.name is None:
            label = f"type {part.type} needs `name`"
            yield error("DRG1102", "`name` is missing", here, label=label)
        if part.type not in _NAMED and part.name is not None:
            yield error("DRG1108", f"type {part.type} has no `name`", here.at("name"))
        if part.type != "ClientAddress" and (part.prefix4 is not None or part.prefix6 is not None):
            yield error("DRG1108", f"type {part.type} has no prefix", here)
        if part.type == "Header" and part.name is not None and not _header(part.name):
            yield error("DRG1103", f"`{part.name}` is no name of a header", here.at("name"))
        if part.type == "Claim" and not all((part.name or "a").split(".")):
            yield error("DRG1103", f"`{part.name}` is no path of a claim", here.at("name"))
        one = (part.type, (part.name or "").lower() if part.type == "Header" else part.name or "")
        if one in seen:
            yield error("DRG1108", f"{' '.join(one).strip()} is listed twice", here)
        seen.add(one)


def _header(name: str) -> bool:
    return not set(name) & set("[]:/")


def _condition(given: model.Condition, where: Origin) -> Iterator[Diagnostic]:
    said = [field for field in ("methods", "path", "header") if getattr(given, field) is not None]
    if len(said) != 1:
        yield error("DRG1108", "a condition is one of `methods`, `path` and `header`", where)
    header = given.header
    if header is None:
        return
    here = where.at("header")
    if header.type == "Present" and header.value is not None:
        yield error("DRG1108", "type Present has no `value`", here.at("value"))
    if header.type != "Present" and header.value is None:
        yield error("DRG1102", "`value` is missing", here, label=f"type {header.type} needs `value`")
    if header.type == "RegularExpression" and header.value is not None:
        flaw = matching.flaw_of(header.value)
        if flaw:
            yield matching.bad(header.value, flaw, here.at("value"))
