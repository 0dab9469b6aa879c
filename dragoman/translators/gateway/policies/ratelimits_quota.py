"""Limits with `where: Quota`: whether Envoy keeps them as they are said (`ir.quota`).

Called by `ratelimits`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dragoman.diagnostics import Diagnostic, error, warning
from dragoman.ir import model as ir, quota, ratelimit
from dragoman.refs import Origin
from dragoman.translators.gateway.models import ratelimitpolicy as model
from dragoman.translators.gateway.policies import merge

Merged = merge.Merged[model.RateLimitPolicy]

_FIELDS = {"parts": "key", "requests": "requests"}
"""Fields of `quota.Quota` -> the limit's."""
_CLOSED = quota.Blanket.DENY


def flaws(merged: Merged, name: str, limit: model.Limit) -> Iterator[Diagnostic]:
    """What is wrong with it, once; warnings where it is only about right."""
    assert limit.requests is not None
    assert limit.per is not None
    parts = (quota.Part(ratelimit.LIMIT, 1), *map(_part, limit.key or ()))
    expired = _CLOSED if limit.failure == "Closed" else quota.Blanket.ALLOW
    numbers = {(limit.requests, limit.per)}
    for plan in (limit.plans or {}).values():
        if not plan.disabled and not plan.unlimited and plan.requests is not None:
            numbers.add((plan.requests, plan.per or limit.per))
    seen = set()
    for requests, window in sorted(numbers):
        for reason in quota.reasons(quota.Quota(requests, window, parts, expired=expired)):
            field = _FIELDS.get(reason.field, "where")
            if (reason.code, field) in seen:
                continue
            seen.add((reason.code, field))
            make = error if reason.error else warning
            message = f"the limit `{name}` as a quota: {reason.message}"
            where = merged.origin("limits", name, field) or merged.origin("limits", name)
            assert where is not None
            yield make(reason.code, message, where, help=reason.help)


def excess(limits: Sequence[ir.RateLimit]) -> list[ir.RateLimit]:
    """The quotas for which a request has no room."""
    return [limit for limit in limits if limit.quota][quota.MOST_OF_A_ROUTE :]


def too_many(name: str, where: Origin) -> Diagnostic:
    message = f"the limit `{name}` is one quota too many: a request can pass {quota.MOST_OF_A_ROUTE}"
    return error("DRG1952", message, where, label="the limit is left out", help="`where: Global` has it")


def _part(given: model.KeyPart) -> quota.Part:
    """Consumers are as many as somebody has written."""
    few = given.type in {part.value for part in ratelimit.QUOTA_PARTS}
    return quota.Part(f"{given.type} {given.name}" if given.name else given.type, 1 if few else None)
