"""Rules of an AuthPolicy's `routing`. Called by `rules_auth`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dragoman.diagnostics import Diagnostic, error
from dragoman.refs import Origin, Ref
from dragoman.translators.gateway import rules_auth_more
from dragoman.translators.gateway.models import authpolicy, policy

_ROUTES: Final = ("HTTPRoute", "GRPCRoute")


def check(ref: Ref, spec: authpolicy.AuthPolicy) -> Iterator[Diagnostic]:
    """What is wrong with `routing`: it is for routes, whose backends it exchanges."""
    given = policy.on(spec.routing)
    if given is None:
        return
    where = Origin(ref, ("spec", "routing"))
    if not given.by_claim:
        yield error("DRG1102", "`byClaim` is missing", where, label="the cases go here")
    for at, case in enumerate(given.by_claim):
        yield from rules_auth_more.claims(where.at("byClaim", at), case.claims)
    kinds = [one.kind for one in spec.target_refs] + [one.kind for one in spec.target_selectors]
    astray = next((kind for kind in kinds if kind not in _ROUTES), None)
    if astray is not None:
        message = f"`routing` is for routes and their rules, not for a {astray}"
        hint = "say it in an AuthPolicy for the route: what this one asks holds there too"
        yield error("DRG1108", message, where, help=hint)
