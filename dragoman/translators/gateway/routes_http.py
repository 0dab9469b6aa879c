"""HTTPRoute rules -> IR routes, and what becomes of the references in them.

One rule gives one action and as many routes as it has matches. Whatever cannot be done is done safely:
a reference that leads nowhere answers 500 for its share, a rule with a filter that cannot be applied
answers 500 as a whole, a match that cannot be expressed is dropped; each with a diagnostic and the
condition that the specification has for it. `Work` serves GRPCRoute as well.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from dragoman import frozen
from dragoman.diagnostics import Diagnostic, Severity, error, warning
from dragoman.graph.collection import Context
from dragoman.ir import model as ir
from dragoman.ir.order import Order
from dragoman.refs import FieldPath, Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import backends, filters, matching, rollouts
from dragoman.translators.gateway.models import grpcroute, httproute as model

PRIORITY: Final = "dragoman.dev/priority"
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_MANY: Final = 2**32 - 1
_ANYTHING: Final = (model.Match(),)
_UNFILTERED: Final = filters.Filters()  # shared, so never added to
_RESOLVED: Final = base.Condition("ResolvedRefs", True, "ResolvedRefs", "every reference leads somewhere")


@frozen.statically
@dataclass(frozen=True, slots=True)
class Rules:
    """What the rules of a route come to, wherever it is attached.

    `invalid`: None while all rules are valid, else which were dropped and why; `usable`: whether any is left;
    `barred`: the Services that policies keep it from; `names`: the rules' names, "" where they have none.
    """

    routes: tuple[ir.Route, ...]
    resolved: base.Condition
    invalid: str | None
    usable: bool
    findings: tuple[Diagnostic, ...]
    barred: frozenset[Ref] = frozenset()
    names: tuple[str, ...] = ()


def translate(ctx: Context, sources: backends.Sources, ref: Ref, item: base.Object[model.HttpRoute]) -> Rules:
    """All rules of one HTTPRoute."""
    work = Work(ctx, sources, item)
    for index, rule in enumerate(item.spec.rules):
        origin = Origin(ref, _rule_path(index))
        meant = (matching.translate(match, origin, at) for at, match in enumerate(rule.matches or _ANYTHING))
        work.rule(index, rule, meant, matching.precedence)
    return work.done(item.spec.rules)


Precedence = Callable[[ir.RouteMatch, str, str, int, int, int], Order]
"""(match, created, object, rule, match's number, priority) -> where it stands."""


class _Portion(NamedTuple):
    """What a rule does to a part of the requests: up to `share` millionths of them, counted from the first
    portion; 0: to all that are left."""

    share: int
    filters: filters.Filters
    action: ir.Action


class Work:
    """One route at work: rules go in one by one, results pile up. `failure` is the answer where there is no
    valid backend."""

    __slots__ = (
        "_created",
        "_ctx",
        "_defaults",
        "_failure",
        "_id",
        "_priority",
        "_ref",
        "_rollout",
        "_rules",
        "_sources",
        "_transport",
        "dropped",
        "findings",
        "routes",
        "unresolved",
    )

    def __init__(
        self,
        ctx: Context,
        sources: backends.Sources,
        item: base.Object[model.HttpRoute] | base.Object[grpcroute.GrpcRoute],
        transport: ir.Transport = ir.Transport.APPLICATION,
        failure: int = 500,
    ) -> None:
        self._ctx = ctx
        self._transport = transport
        self._failure = failure
        self._defaults = item.spec.use_default_gateways == "All"
        self._sources = sources
        self._ref = item.ref
        self._id = item.ref.id
        self._rules = item.spec.rules
        self._rollout: rollouts.Chosen | None = None
        self._created = item.meta.created
        self.routes: list[ir.Route] = []
        self.dropped: list[str] = []
        self.findings: list[Diagnostic] = []
        self.unresolved: list[backends.Unresolved] = []
        self._priority = _priority(item, self.findings) if item.meta.annotations else 0

    def done(self, rules: Sequence[model.Rule | grpcroute.Rule]) -> Rules:
        """All of it."""
        if self._defaults:
            where = Origin(self._ref, ("spec", "useDefaultGateways"))
            message = "there are no default Gateways: parentRefs alone count"
            self.findings.append(warning("DRG3001", message, where))
        return Rules(
            tuple(self.routes),
            resolution(self.unresolved),
            f"Dropped Rule: {'; '.join(self.dropped)}" if self.dropped else None,
            len(self.dropped) < len(rules) or not rules,
            tuple(dict.fromkeys((*self.findings, *(one.finding for one in self.unresolved)))),
            backends.barred(self.unresolved),
            _names(rules),
        )

    def rule(
        self,
        index: int,
        rule: model.Rule,
        matches: Iterable[ir.RouteMatch | Diagnostic],
        precedence: Precedence,
    ) -> None:
        """The routes of one rule, one per match."""
        origin = Origin(self._ref, _rule_path(index))
        name = f"{self._ref.kind}/{self._id}/{rule.name or f'#{index}'}"
        self._rollout = rollouts.of_rule(self._ctx, self._sources.rollouts, self._ref, self._rules, index)
        if self._rollout is not None:
            rule = rollouts.weighed(rule, self._rollout)
        filtered = rule.filters or any(one.filters for one in rule.backend_refs)
        found = filters.Filters() if filtered else _UNFILTERED
        if rule.filters:
            where = origin.at("filters")
            filters.translate(self._ctx, self._sources, self._ref, rule.filters, _prefix(rule), where, found)
        testers = self._testers(index, rule, found, name, origin)
        portions = self._portions(index, rule, found, name, origin)
        refused = list(dict.fromkeys(each for one in portions for each in one.filters.refused))
        for at, meant in enumerate(matches):
            if isinstance(meant, Diagnostic):
                refused.append(meant)
                continue
            place = precedence(meant, self._created, self._id, index, at, self._priority)
            for number, portion in enumerate(portions):
                self.routes.append(self._route(f"{name}/{at}", meant, place, number, portion, origin))
            if testers is not None and self._rollout is not None:
                for number, asked in enumerate(rollouts.testers(meant, self._rollout)):
                    route = self._route(f"{name}/{at}/testers/{number}", asked, place, 0, testers, origin)
                    # Before all that the rule does for others, and nowhere else.
                    self.routes.append(replace(route, order=place._replace(share=number - _MANY)))
        if refused:
            self.findings += refused
            self.dropped.append(f"{_title(index, rule)} ({refused[0].message})")

    def _testers(
        self, index: int, rule: model.Rule, found: filters.Filters, name: str, origin: Origin
    ) -> _Portion | None:
        """What is done to the requests of a Rollout's testers: the rule's action, with the canary alone."""
        rollout = self._rollout
        if rollout is None or found.redirect is not None or not rollout.item.spec.testers:
            return None
        found = found.copy()
        at = rollout.target.canary
        ref = rollouts.alone(rule.backend_refs[at])
        said = len(self.findings), len(self.unresolved)
        action = self._action(index, rule, [(at, ref)], found, name, origin)
        # The rule itself says what there is to say.
        del self.findings[said[0] :], self.unresolved[said[1] :]
        return _Portion(0, found, action)

    def _route(
        self, name: str, match: ir.RouteMatch, place: Order, number: int, portion: _Portion, origin: Origin
    ) -> ir.Route:
        if number or portion.share:
            name = f"{name}/{number}"
            match = replace(match, share=portion.share)
            place = place._replace(share=number)
        found = portion.filters
        rollout = self._rollout.reports if self._rollout is not None else ""
        changes = found.request, found.response, found.cors
        return ir.Route(name, match, portion.action, place, *changes, origin, rollout=rollout)

    def _portions(
        self, index: int, rule: model.Rule, found: filters.Filters, name: str, origin: Origin
    ) -> list[_Portion]:
        """One action for all requests, or, where backends have filters that Envoy knows on routes alone, one
        for each backend's share of them."""
        refs = tuple(enumerate(rule.backend_refs))
        if found.redirect is not None or not filters.apart(rule.backend_refs):
            return [_Portion(0, found, self._action(index, rule, refs, found, name, origin))]
        if rule.session_persistence is not None:
            message = "sessions do not hold across backends that have filters of their own"
            self.findings.append(warning("DRG3002", message, origin.at("sessionPersistence")))
        total = sum(one.weight for one in rule.backend_refs)
        dealt = 0
        own, more = found, found.copy()  # the first one says what there is to say
        made: list[_Portion] = []
        for at, one in refs:
            if not one.weight:
                self._backends(index, rule, [(at, one)], own)  # for its references' sake
                continue
            dealt += one.weight
            share = max(1, dealt * ir.SHARES // total) if dealt < total else 0
            action = self._action(index, rule, [(at, one)], own, name, origin)
            made.append(_Portion(share, own, action))
            own = more.copy()
        return made

    def _action(
        self,
        index: int,
        rule: model.Rule,
        refs: Iterable[tuple[int, model.HttpBackendRef]],
        found: filters.Filters,
        name: str,
        origin: Origin,
    ) -> ir.Action:
        shares = self._backends(index, rule, refs, found)
        self.unresolved += found.unresolved
        self.findings += found.findings
        if found.refused:
            return ir.Respond(self._failure)
        if found.redirect is not None:
            if found.mirrors:
                where = origin.at("filters")
                self.findings.append(warning("DRG3001", "a redirected request is not mirrored", where))
            return found.redirect
        if not any(share.weight for share in shares):
            self._warn_of_nothing(rule, origin)
        times = rule.timeouts
        session = rule.session_persistence
        return ir.Forward(
            shares,
            found.path,
            found.hostname,
            times.request if times is not None else None,
            times.backend_request if times is not None else None,
            self._retry(rule.retry, origin) if rule.retry is not None else None,
            self._session(rule, session, name, origin) if session is not None else None,
            tuple(found.mirrors),
            failure=self._failure,
        )

    def _backends(
        self,
        index: int,
        rule: model.Rule,
        refs: Iterable[tuple[int, model.HttpBackendRef]],
        found: filters.Filters,
    ) -> tuple[ir.WeightedBackend, ...]:
        shares: list[ir.WeightedBackend] = []
        for at, wanted in refs:
            here = Origin(self._ref, _backend_path(index, at))
            set_by = (self._rollout is not None and self._rollout.origin(at)) or here
            request = response = ir.NO_MUTATION
            if wanted.filters:
                request, response = filters.of_backend(
                    self._ctx, self._sources, self._ref, wanted, _prefix(rule), here, found
                )
            cluster = backends.resolve(self._ctx, self._sources, self._ref, wanted, here, self._transport)
            if isinstance(cluster, backends.Unresolved):
                self.unresolved.append(cluster)
                reason = cluster.finding.message
                shares.append(ir.WeightedBackend(None, wanted.weight, request, response, reason, set_by))
                continue
            if wanted.port is not None and wanted.kind == "Backend":
                message = "a Backend's endpoints have ports of their own"
                self.findings.append(warning("DRG3001", message, here.at("port")))
            shares.append(ir.WeightedBackend(cluster, wanted.weight, request, response, "", set_by))
        return tuple(shares)

    def _warn_of_nothing(self, rule: model.Rule, origin: Origin) -> None:
        where, message = origin, "the rule has no backendRefs"
        if rule.backend_refs:
            where, message = origin.at("backendRefs"), "every backend of the rule has weight 0"
        label = f"requests for it get a {self._failure}"
        self.findings.append(warning("DRG1306", message, where, label=label))

    def _retry(self, given: model.Retry, origin: Origin) -> ir.Retry:
        if given.backoff:
            self.findings.append(
                Diagnostic(
                    "DRG3002",
                    "the back-off between tries has jitter: a retry may come before it is over",
                    self._ref,
                    origin.at("retry", "backoff").path,
                    Severity.INFO,
                )
            )
        attempts = None if given.attempts is None else min(given.attempts, _MANY)
        return ir.Retry(attempts, tuple(sorted(set(given.codes))), given.backoff or None)

    def _session(
        self, rule: model.Rule, given: model.SessionPersistence, name: str, origin: Origin
    ) -> ir.SessionPersistence:
        kind = ir.SessionKind.COOKIE if given.type == "Cookie" else ir.SessionKind.HEADER
        permanent = given.cookie_config is not None and given.cookie_config.lifetime_type == "Permanent"
        if given.absolute_timeout and not permanent:
            self.findings.append(
                warning(
                    "DRG3002",
                    "the session's absoluteTimeout is not enforced",
                    origin.at("sessionPersistence", "absoluteTimeout"),
                    help="a cookie of lifetimeType Permanent ends when absoluteTimeout says"
                    if given.type == "Cookie"
                    else "",
                )
            )
        if kind is ir.SessionKind.HEADER and sum(1 for one in rule.backend_refs if one.weight) > 1:
            message = "a session by header holds within each backend: the weights decide for every request"
            where = origin.at("sessionPersistence", "type")
            self.findings.append(warning("DRG3002", message, where, help="type Cookie holds across backends"))
        path = "/"
        if kind is ir.SessionKind.COOKIE and len(rule.matches) == 1:
            only = rule.matches[0].path
            path = _prefix(rule) if only.type == "PathPrefix" else only.value
            path = "/" if only.type == "RegularExpression" else path
        return ir.SessionPersistence(
            kind,
            self._session_name(given.session_name, name, origin),
            given.absolute_timeout or 0.0 if permanent else 0.0,
            path,
        )

    def _session_name(self, given: str, route: str, origin: Origin) -> str:
        """Names of our own making differ between rules: each rule's session is its own."""
        if given and _TOKEN.fullmatch(given) is None:
            where = origin.at("sessionPersistence", "sessionName")
            message = f"`{given}` can be no cookie or header, so the session gets another name"
            self.findings.append(warning("DRG3002", message, where))
        elif given:
            return given
        return f"dragoman-{hashlib.blake2s(route.encode(), digest_size=4).hexdigest()}"


# Ten thousand routes have the same few paths: made once, they are shared.


@functools.cache
def _rule_path(index: int) -> FieldPath:
    return ("spec", "rules", index)


@functools.cache
def _backend_path(index: int, at: int) -> FieldPath:
    return ("spec", "rules", index, "backendRefs", at)


def _names(rules: Sequence[model.Rule | grpcroute.Rule]) -> tuple[str, ...]:
    return tuple(rule.name or "" for rule in rules) if any(rule.name for rule in rules) else ()


def _prefix(rule: model.Rule) -> str:
    """What ReplacePrefixMatch replaces; where it may stand there is exactly one match, a PathPrefix."""
    return (rule.matches[0].path.value.rstrip("/") if rule.matches else "") or "/"


def _priority(item: base.AnyObject, findings: list[Diagnostic]) -> int:
    text = item.meta.annotation(PRIORITY)
    if text is None:
        return 0
    try:
        return int(text)
    except ValueError:
        where = Origin(item.ref, ("metadata", "annotations", PRIORITY))
        findings.append(
            error("DRG1307", f"priority `{text}` is not a whole number", where, label="counts as 0")
        )
        return 0


def _title(index: int, rule: model.Rule) -> str:
    return f"{index} `{rule.name}`" if rule.name else str(index)


def resolution(unresolved: Iterable[backends.Unresolved]) -> base.Condition:
    """The condition `ResolvedRefs`. What a policy bars is no fault of the reference."""
    lost = [one for one in unresolved if one.reason]
    if not lost:
        return _RESOLVED
    messages = dict.fromkeys(one.finding.message for one in lost)
    return base.Condition("ResolvedRefs", False, lost[0].reason, "; ".join(messages))
