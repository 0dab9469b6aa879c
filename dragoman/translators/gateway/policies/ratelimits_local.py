"""Limits with `where: Local` of which clients cannot be told as they say it (`ir.denials`).

Called by `ratelimits`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dragoman.diagnostics import Diagnostic, warning
from dragoman.ir import denials, model as ir
from dragoman.translators.gateway.models import ratelimitpolicy as model
from dragoman.translators.gateway.policies import merge

Merged = merge.Merged[model.RateLimitPolicy]


def confused(merged: Merged, limits: Sequence[ir.RateLimit]) -> Iterator[Diagnostic]:
    """Limits that nobody can tell apart when one of them denies."""
    for first, other in denials.confused(limits):
        where = merged.origin("limits", other.name)
        assert where is not None
        same = "the same number" if first.told.x_ratelimit else "`xRateLimit: false`"
        yield warning(
            "DRG1954",
            f"the limits `{first.name}` and `{other.name}` have {same}, and Envoy says only that of a denial",
            where,
            label=f"clients are answered as `{first.name}` says",
            help="say the same of both, or give them other numbers",
        )
