"""RateLimitPolicies -> routes: the limits that a request has to pass.

A limit is what the policies of all levels say under its name. Which policies say anything of it is part of
its identity: a route's policy that gives it another number makes it another limit, with counts of its own.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from dragoman.diagnostics import Diagnostic, Severity, error, warning
from dragoman.ir import model as ir, ratelimit
from dragoman.refs import Origin
from dragoman.translators.gateway.models import policy, ratelimitpolicy as model
from dragoman.translators.gateway.policies import (
    merge,
    ratelimits_local,
    ratelimits_plans,
    ratelimits_quota,
)

Merged = merge.Merged[model.RateLimitPolicy]
Layers = tuple[merge.Layer[model.RateLimitPolicy], ...]
Made = tuple[tuple[ir.RateLimit, ...], tuple[Diagnostic, ...]]

_ROUTES: Final = ("HTTPRoute", "GRPCRoute")
_NOTHING: Final[tuple[Diagnostic, ...]] = ()
_LARGEST_LOG: Final = 100_000
"""Hits that a sliding log remembers at most (`ratelimit.algorithms.sliding_log`)."""


def apply(route: ir.Route, merged: Merged) -> tuple[ir.Route, tuple[Diagnostic, ...]]:
    """The route with its limits."""
    limits, findings = _limits(merged)
    placed = tuple(replace(limit, place=_place(route, limit)) for limit in limits)
    return (replace(route, limits=placed) if placed else route), findings


def unknown(route: ir.Route, layers: Layers) -> tuple[Diagnostic, ...]:
    """Limits by clients of a route that asks nobody who it is. Who limits a whole Gateway knows of others."""
    if not any(_aims(layer.spec) for layer in layers):
        return _NOTHING
    asked = {*ratelimit.CLIENT_PARTS, ratelimit.Part.CLAIM}
    return tuple(
        warning(
            "DRG1953",
            f"the limit `{limit.name}` counts by who the client is, and no AuthPolicy asks that here",
            limit.origin,
            label="it tells no clients apart",
            help="an AuthPolicy for the route knows clients by keys, tokens, passwords or certificates",
        )
        for limit in route.limits
        if limit.origin is not None and (limit.plans or any(part.part in asked for part in limit.key))
    )


def _aims(spec: model.RateLimitPolicy) -> bool:
    kinds = [one.kind for one in spec.target_refs] + [one.kind for one in spec.target_selectors]
    return any(kind in _ROUTES for kind in kinds)


def _place(route: ir.Route, limit: ir.RateLimit) -> str:
    """The route or rule, where these have counts of their own."""
    origin = route.origin
    if limit.sharing is ratelimit.Sharing.GATEWAY or origin is None:
        return ""
    if limit.sharing is ratelimit.Sharing.ROUTE:
        return str(origin.ref)
    # HTTPRoute/shop/cart/#0/1: rule and match.
    return route.name.rpartition("/")[0]


@functools.lru_cache(maxsize=4096)
def _limits(merged: Merged) -> Made:
    limits: list[ir.RateLimit] = []
    findings: list[Diagnostic] = []
    for name, limit in (merged.spec.limits or {}).items():
        if limit.disabled:
            continue
        wrong = list(_flaws(merged, name, limit))
        findings += wrong
        if not any(one.severity is Severity.ERROR for one in wrong):
            limits.append(_limit(merged, name, limit))
    findings += ratelimits_local.confused(merged, limits)
    for one in ratelimits_quota.excess(limits):
        limits.remove(one)
        findings.append(ratelimits_quota.too_many(one.name, _at(merged, one.name, "where")))
    return tuple(limits), tuple(findings)


def _at(merged: Merged, name: str, *path: str) -> Origin:
    """Where a field was said, else where the limit was."""
    found = merged.origin("limits", name, *path) or merged.origin("limits", name)
    assert found is not None  # a limit that nobody speaks of is not there
    return found


def _flaws(merged: Merged, name: str, limit: model.Limit) -> Iterator[Diagnostic]:
    """Why a limit cannot be."""
    for field in ("requests", "per"):
        if getattr(limit, field) is None:
            label = "no policy here says it, and the limit is left out"
            yield error("DRG1951", f"the limit `{name}` has no `{field}`", _at(merged, name), label=label)
    if limit.requests is None or limit.per is None:
        return
    kind = limit.algorithm
    yield from ratelimits_plans.flaws(merged, name, limit)
    if limit.where in ("Local", "Quota"):
        yield from _unfit(merged, name, limit)
        if limit.where == "Quota":
            yield from ratelimits_quota.flaws(merged, name, limit)
        return
    most = ratelimits_plans.largest(limit)
    if kind is not None and kind.type == "SlidingWindowLog" and most > _LARGEST_LOG:
        message = f"the limit `{name}` would remember {most} hits, {_LARGEST_LOG} are the most"
        hint = "SlidingWindowCounter takes any number"
        yield error("DRG1104", message, _at(merged, name, "requests"), help=hint)
    if kind is not None and kind.type == "LeakyBucket" and not kind.nodelay:
        waits, longest = ratelimits_plans.longest(limit), ratelimit.LONGEST_QUEUE
        if waits > longest:
            message = f"requests would wait {waits:.0f} s for their turn, {longest:.0f} s are the most"
            label = "a smaller `burst`, or `nodelay`"
            yield error("DRG1104", message, _at(merged, name, "algorithm"), label=label)
        elif waits and limit.timeout is not None and limit.timeout <= waits:
            message = f"requests wait up to {waits:.3g} s for their turn, longer than the `timeout`"
            yield error("DRG1104", message, _at(merged, name, "timeout"), label="the limit is left out")


def _unfit(merged: Merged, name: str, limit: model.Limit) -> Iterator[Diagnostic]:
    """What Envoy cannot count or say by itself."""
    headers, body, cost = limit.headers, limit.body, limit.cost
    shown = headers is None or headers.x_rate_limit is not False
    draft = headers is not None and bool(headers.rate_limit)
    unfit: dict[tuple[str, ...], bool] = {
        ("algorithm",): limit.algorithm is not None and limit.algorithm.type != "TokenBucket",
        ("timeout",): limit.timeout is not None,
    }
    if limit.where == "Local":
        unfit |= {
            ("cost", "of"): cost is not None and cost.of == "Response",
            ("failure",): limit.failure is not None,
            ("headers", "rateLimit"): draft and not shown,  # these are copies
        }
    else:
        unfit |= {
            ("cost",): cost is not None,
            ("failure",): limit.failure == "Local",
            ("headers", "rateLimit"): draft,
            ("headers", "xRateLimit"): headers is not None and bool(headers.x_rate_limit),
            ("headers", "retryAfter"): headers is not None and headers.retry_after is False,
            ("status",): limit.status not in (None, 429),
            ("body",): body is not None and (bool(body.disabled) or body.message is not None),
        }
    for path, said in unfit.items():
        if said:
            message = f"the limit `{name}` is counted by Envoy itself, which has no `{'.'.join(path)}` for it"
            label = "the limit is left out" if path != ("algorithm",) else "a TokenBucket is all there is"
            hint = "`where: Global` has it"
            yield error("DRG1952", message, _at(merged, name, *path), label=label, help=hint)


def _limit(merged: Merged, name: str, limit: model.Limit) -> ir.RateLimit:
    assert limit.requests is not None
    assert limit.per is not None
    sayers = merged.sayers([("limits", name)])
    where = ratelimit.Where(limit.where or "Global")
    buckets = where is not ratelimit.Where.GLOBAL
    algorithm = limit.algorithm or model.Algorithm(type="TokenBucket" if buckets else "FixedWindow")
    plans = ratelimits_plans.of(limit)
    key = limit.key
    if key is None and plans:
        key = (model.KeyPart(type="Consumer"),)
    return ir.RateLimit(
        f"{'+'.join(ref.id for ref in sayers)}/{name}",
        name,
        sayers[-1].id,
        limit.requests,
        limit.per,
        ratelimit.Counting(algorithm.type),
        where,
        algorithm.burst or 0,
        algorithm.delay or 0,
        bool(algorithm.nodelay),
        tuple(map(_part, key or ())),
        tuple(map(_condition, limit.when or ())),
        ratelimit.Sharing(limit.scope or "Gateway"),
        _cost(limit.cost) if limit.cost is not None else None,
        bool(limit.shadow),
        _failure(limit),
        _told(limit),
        plans,
        limit.status if limit.status not in (None, 429) else 0,
        limit.timeout or 0.0,
        origin=_at(merged, name),
    )


def _cost(given: model.Cost) -> ratelimit.Cost:
    path: tuple[str, ...] = ()
    if given.metadata is not None:
        path = (given.metadata.namespace, *given.metadata.key.split("."))
    return ratelimit.Cost((given.header or "").lower(), given.of == "Response", path)


def _failure(limit: model.Limit) -> ratelimit.Failure:
    """A shadow never denies, also when nobody can count."""
    said = ratelimit.Failure(limit.failure or "Open")
    closed = said is ratelimit.Failure.CLOSED
    return ratelimit.Failure.OPEN if limit.shadow and closed else said


def _told(limit: model.Limit) -> ratelimit.Told:
    headers = limit.headers or model.Headers()
    body = policy.on(limit.body)
    return ratelimit.Told(
        headers.x_rate_limit is not False,
        bool(headers.rate_limit),
        headers.retry_after is not False,
        limit.body is None or body is not None,
        (body.message or "") if body is not None else "",
    )


def _part(given: model.KeyPart) -> ratelimit.KeyPart:
    name = given.name or ""
    if given.type == "Header" and name.lower() == "host":  # HTTP/2 has no such header
        return ratelimit.KeyPart(ratelimit.Part.HOST)
    return ratelimit.KeyPart(
        ratelimit.Part(given.type),
        name.lower() if given.type == "Header" else name,
        given.prefix4 or 32,
        given.prefix6 or 64,
    )


def _condition(given: model.Condition) -> ratelimit.Condition:
    if given.methods is not None:
        return ratelimit.Condition(":method", "|".join(given.methods), regex=True, invert=given.invert)
    if given.path is not None:
        return ratelimit.Condition(":path", _path(given.path), regex=True, invert=given.invert)
    header = given.header
    assert header is not None  # the rules of the kind have seen to it
    regex = header.type == "RegularExpression"
    name = ":authority" if header.name.lower() == "host" else header.name.lower()
    return ratelimit.Condition(name, header.value, regex, given.invert)


def _path(given: model.PathCondition) -> str:
    """An expression for path and query. What stands behind `^` costs nothing of the hundred instructions
    that Envoy takes."""
    if given.type == "Exact":
        return rf"^{re.escape(given.value)}(\?.*)?"
    stem = given.value.rstrip("/")
    return rf"^{re.escape(stem)}([/?].*)?" if stem else "/.*"
