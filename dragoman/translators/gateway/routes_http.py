"""HTTPRoute rules -> IR routes, and what becomes of the references in them.

One rule gives one action and as many routes as it has matches. Whatever cannot be done is done safely: a reference
that leads nowhere answers 500 for its share, a rule with a filter that cannot be applied answers 500 as a whole, a match
that cannot be expressed is dropped; each with a diagnostic and the condition that the specification has for it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Final

from dragoman.diagnostics import Diagnostic, error, warning
from dragoman.graph.collection import Context
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import backends, filters, matching
from dragoman.translators.gateway.models import httproute as model

PRIORITY: Final = "dragoman.dev/priority"
_RESOLVED: Final = base.Condition("ResolvedRefs", True, "ResolvedRefs", "every reference leads somewhere")


@dataclass(frozen=True, slots=True)
class Rules:
    """What the rules of a route come to, wherever it is attached.

    `invalid`: None while all rules are valid, else why which were dropped; `usable`: whether any rule is left.
    """

    routes: tuple[ir.Route, ...]
    resolved: base.Condition
    invalid: str | None
    usable: bool
    findings: tuple[Diagnostic, ...]


def translate(ctx: Context, sources: backends.Sources, ref: Ref, item: base.Object[model.HttpRoute]) -> Rules:
    """All rules of one HTTPRoute."""
    findings: list[Diagnostic] = []
    unresolved: list[backends.Unresolved] = []
    dropped: list[str] = []
    routes: list[ir.Route] = []
    priority = _priority(item, findings)
    for index, rule in enumerate(item.spec.rules):
        made = _Rule(ctx, sources, item, index, rule, priority)
        routes += made.routes()
        findings += made.findings
        unresolved += made.unresolved
        if made.refused:
            dropped.append(f"{_title(index, rule)} ({made.refused[0].message})")
    if item.spec.use_default_gateways == "All":
        where = Origin(ref, ("spec", "useDefaultGateways"))
        findings.append(warning("DRG3001", "there are no default Gateways: parentRefs alone count", where))
    return Rules(
        tuple(routes),
        _resolved(unresolved),
        f"Dropped Rule: {'; '.join(dropped)}" if dropped else None,
        len(dropped) < len(item.spec.rules),
        (*findings, *(one.finding for one in unresolved)),
    )


class _Rule:
    """One rule at work."""

    __slots__ = (
        "_ctx",
        "_index",
        "_item",
        "_origin",
        "_priority",
        "_ref",
        "_rule",
        "_sources",
        "findings",
        "refused",
        "unresolved",
    )

    def __init__(
        self,
        ctx: Context,
        sources: backends.Sources,
        item: base.Object[model.HttpRoute],
        index: int,
        rule: model.Rule,
        priority: int,
    ) -> None:
        self._ctx = ctx
        self._sources = sources
        self._item = item
        self._ref = item.ref
        self._index = index
        self._rule = rule
        self._priority = priority
        self._origin = Origin(item.ref, ("spec", "rules", index))
        self.findings: list[Diagnostic] = []
        self.unresolved: list[backends.Unresolved] = []
        self.refused: list[Diagnostic] = []

    def routes(self) -> list[ir.Route]:
        """The rule's routes, one per match."""
        rule, item, ref = self._rule, self._item, self._ref
        matches = rule.matches or (model.Match(),)
        name = f"{ref.kind}/{ref.id}/{rule.name or f'#{self._index}'}"
        first = matches[0].path
        found = self._filters(first.value.rstrip("/") or "/" if first.type == "PathPrefix" else "/")
        action = self._action(found, name)
        made: list[ir.Route] = []
        for at, match in enumerate(matches):
            origin = self._origin.at("matches", at) if rule.matches else self._origin
            meant = matching.translate(match, origin)
            if isinstance(meant, Diagnostic):
                self.refused.append(meant)
                self.findings.append(meant)
                continue
            place = matching.precedence(
                meant,
                created=item.meta.created,
                object_id=ref.id,
                rule=self._index,
                index=at,
                priority=self._priority,
            )
            made.append(
                ir.Route(
                    f"{name}/{at}",
                    meant,
                    action,
                    place,
                    found.request,
                    found.response,
                    found.cors,
                    self._origin,
                )
            )
        return made

    def _filters(self, prefix: str) -> filters.Filters:
        """The rule's own filters; those of backends are added by `_backends`."""
        if not self._rule.filters:
            return filters.Filters()
        where = self._origin.at("filters")
        return filters.translate(self._ctx, self._sources, self._ref, self._rule.filters, prefix, where)

    def _action(self, found: filters.Filters, name: str) -> ir.Action:
        rule = self._rule
        shares = self._backends(found)
        self.unresolved += found.unresolved
        self.refused += found.refused
        self.findings += found.refused
        if found.refused:
            return ir.Respond(500)
        if found.redirect is not None:
            if found.mirrors:
                where = self._origin.at("filters")
                self.findings.append(warning("DRG3001", "a redirected request is not mirrored", where))
            return found.redirect
        if not any(share.weight for share in shares):
            self._warn_of_nothing()
        times = rule.timeouts
        return ir.Forward(
            shares,
            found.path,
            found.hostname,
            times.request if times is not None else None,
            times.backend_request if times is not None else None,
            _retry(rule.retry),
            self._session(name),
            tuple(found.mirrors),
        )

    def _backends(self, found: filters.Filters) -> tuple[ir.WeightedBackend, ...]:
        shares: list[ir.WeightedBackend] = []
        refs = self._rule.backend_refs
        alone = sum(1 for wanted in refs if wanted.weight) == 1
        for at, wanted in enumerate(refs):
            origin = self._origin.at("backendRefs", at)
            cluster = backends.resolve(self._ctx, self._sources, self._ref, wanted, origin)
            if isinstance(cluster, backends.Unresolved):
                self.unresolved.append(cluster)
                share = ir.WeightedBackend(None, wanted.weight, reason=cluster.finding.message, origin=origin)
            else:
                share = ir.WeightedBackend(cluster, wanted.weight, origin=origin)
                if wanted.port is not None and wanted.kind == "Backend":
                    message = "a Backend's endpoints have ports of their own"
                    self.findings.append(warning("DRG3001", message, origin.at("port")))
            if wanted.filters:
                request, response = filters.of_backend(
                    self._ctx,
                    self._sources,
                    self._ref,
                    wanted,
                    alone,
                    self._prefix(),
                    origin.at("filters"),
                    found,
                )
                share = replace(share, request_headers=request, response_headers=response)
            shares.append(share)
        return tuple(shares)

    def _prefix(self) -> str:
        path = self._rule.matches[0].path if self._rule.matches else model.PathMatch()
        return path.value.rstrip("/") or "/"

    def _warn_of_nothing(self) -> None:
        where, message = self._origin, "the rule has no backendRefs"
        if self._rule.backend_refs:
            where, message = self._origin.at("backendRefs"), "every backend of the rule has weight 0"
        self.findings.append(warning("DRG1306", message, where, label="requests for it get a 500"))

    def _session(self, name: str) -> ir.SessionPersistence | None:
        given = self._rule.session_persistence
        if given is None:
            return None
        kind = ir.SessionKind.COOKIE if given.type == "Cookie" else ir.SessionKind.HEADER
        permanent = given.cookie_config is not None and given.cookie_config.lifetime_type == "Permanent"
        if given.absolute_timeout and not permanent:
            self.findings.append(
                warning(
                    "DRG3002",
                    "the session's absoluteTimeout is not enforced",
                    self._origin.at("sessionPersistence", "absoluteTimeout"),
                    help="a cookie of lifetimeType Permanent ends when absoluteTimeout says"
                    if given.type == "Cookie"
                    else "",
                )
            )
        paths = {m.path.value for m in self._rule.matches if m.path.type != "RegularExpression"}
        only = paths.pop() if len(self._rule.matches) == 1 and paths else "/"
        return ir.SessionPersistence(
            kind,
            # Names of cookies and headers must not meet between rules: each rule's session is its own.
            given.session_name or f"dragoman-{hashlib.blake2s(name.encode(), digest_size=4).hexdigest()}",
            given.absolute_timeout or 0.0 if permanent else 0.0,
            only if kind is ir.SessionKind.COOKIE else "/",
        )


def _retry(given: model.Retry | None) -> ir.Retry | None:
    if given is None:
        return None
    return ir.Retry(
        1 if given.attempts is None else given.attempts, tuple(sorted(set(given.codes))), given.backoff
    )


def _priority(item: base.Object[model.HttpRoute], findings: list[Diagnostic]) -> int:
    text = item.meta.annotation(PRIORITY) if item.meta.annotations else None
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


def _resolved(unresolved: list[backends.Unresolved]) -> base.Condition:
    if not unresolved:
        return _RESOLVED
    messages = dict.fromkeys(one.finding.message for one in unresolved)
    return base.Condition("ResolvedRefs", False, unresolved[0].reason, "; ".join(messages))
