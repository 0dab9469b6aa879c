"""ListenerSets: listeners that others add to a Gateway (Gateway API v1.6, GEP-1713).

A Gateway and its sets are one list of listeners, in order: the Gateway's own, then the oldest set's. Who
comes later and is in conflict loses. Each listener lays *claims* to its port and host name; whoever has the
oldest claim is looked up, so that one set among thousands costs its own listeners.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from dragoman.diagnostics import Diagnostic, error
from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import attachment, clientcas, gateways, listeners, names
from dragoman.translators.gateway.models import gateway as gateway_model, listenerset as model


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a set stands. `host` None: its Gateway is not ours. `refusal`: reason and message."""

    gateway: Ref
    host: gateways.Host | None
    refusal: tuple[str, str] | None = None
    findings: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What a set comes to. `accepted` is its Gateway, if it takes the set."""

    served: ir.Gateway | None
    conditions: tuple[base.Condition, ...]
    reports: tuple[listeners.Report, ...]
    doors: attachment.Doors
    accepted: Ref | None
    findings: tuple[Diagnostic, ...]


class _Claim(NamedTuple):
    """Sorts by precedence, within what is compared."""

    gateway: Ref
    place: tuple[int, bool]
    family: str
    hostname: str
    age: tuple[str, str]
    ref: Ref
    at: int


class _Spoken(NamedTuple):
    family: str
    flavour: str


class _Winner(NamedTuple):
    """Who was first: the listener number `at` of a set."""

    ref: Ref
    at: int
    flavour: str


_Ports = Collection[tuple[Ref, tuple[int, bool]], _Spoken]
_Winners = Collection[tuple[object, ...], _Winner]


@dataclass(frozen=True, slots=True)
class Sources:
    """What judging a set looks at."""

    hosts: Collection[Ref, gateways.Host]
    namespaces: Collection[Ref, tuple[tuple[str, str], ...]]
    gateway_names: names.Names
    listeners: listeners.Sources


def build(
    graph: Graph, objects: Collection[Ref, base.Object[model.ListenerSet]], sources: Sources
) -> Collection[Ref, Report]:
    """Every ListenerSet's report."""
    standings = graph.map_one(
        "ListenerSet standings", objects, lambda ctx, ref, item: _standing(ctx, sources, ref, item)
    )

    def claim(
        ctx: Context, ref: Ref, item: base.Object[model.ListenerSet]
    ) -> Iterator[tuple[_Claim, _Spoken]]:
        return _claims(ref, item, ctx.fetch(standings, ref))

    claims = graph.map_many("ListenerSet claims", objects, claim)
    ports = graph.sorted_groups(
        "claimed ports",
        claims,
        lambda key, _: (key.gateway, key.place),
        lambda key, _: (key.age, key.ref, key.at),
        lambda _, __, members: members[0],
    )
    winners = graph.group_by(
        "claimed hosts", claims, lambda key, _: (key[:4],), lambda _, __, found: _first(found)
    )

    def report(ctx: Context, ref: Ref, item: base.Object[model.ListenerSet]) -> Report | None:
        standing = ctx.fetch(standings, ref)
        if standing is None:
            return None
        if standing.host is None:
            return Report(None, (), (), attachment.Doors(False), None, standing.findings)
        return _report(ctx, sources, ref, item, standing, standing.host, ports, winners)

    return graph.map_one("ListenerSet reports", objects, report)


def _first(found: Mapping[_Claim, _Spoken]) -> _Winner:
    claim = min(found)
    return _Winner(claim.ref, claim.at, found[claim].flavour)


def _standing(ctx: Context, sources: Sources, ref: Ref, item: base.Object[model.ListenerSet]) -> Standing:
    wanted = item.spec.parent_ref
    gateway = Ref(wanted.group, wanted.kind, wanted.namespace or ref.namespace, wanted.name)
    origin = Origin(ref, ("spec", "parentRef"))
    host = ctx.fetch(sources.hosts, gateway)
    if host is None:
        hint = names.hint(ctx, sources.gateway_names, gateway)
        finding = error("DRG2001", f"{gateway} is not there", origin.at("name"), help=hint)
        return Standing(gateway, None, None, (finding,))
    if not host.ours:
        return Standing(gateway, None)
    source = host.allowed.from_
    same = ref.namespace == gateway.namespace
    allowed = source == "All" or (source == "Same" and same)
    if source == "Selector" and host.allowed.selector is not None:
        labels = attachment.labels(ctx, sources.namespaces, ref.namespace)
        allowed = attachment.selects(host.allowed.selector, labels)
    if not allowed:
        message = f"{gateway} takes no ListenerSets of namespace {ref.namespace}"
        hint = f"its allowedListeners.namespaces says `from: {source}`"
        found = error("DRG1209", message, origin, help=hint)
        return Standing(gateway, host, ("NotAllowed", message), (found,))
    if not host.served:
        return Standing(gateway, host, ("ParentNotAccepted", f"{gateway} is not accepted"))
    return Standing(gateway, host)


def _claims(
    ref: Ref, item: base.Object[model.ListenerSet], standing: Standing | None
) -> Iterator[tuple[_Claim, _Spoken]]:
    """The places that a set's listeners would take, but for those in conflict among themselves or with the
    Gateway's own."""
    if standing is None or standing.host is None or standing.refusal is not None:
        return
    beaten = _beaten(item.spec.listeners, standing.host)
    for at, one in enumerate(item.spec.listeners):
        family = listeners.family(one)
        if family is None or at in beaten:
            continue
        age = (item.meta.created or "~", ref.id)
        place, host = listeners.place(one), listeners.covered(one)
        claim = _Claim(standing.gateway, place, family.value, host, age, ref, at)
        yield claim, _Spoken(family.value, listeners.flavour(one))


def _beaten(
    members: tuple[gateway_model.Listener, ...], host: gateways.Host
) -> dict[int, listeners.Conflict]:
    """Listener index -> conflict with the Gateway's own listeners or within the set. The Gateway comes first:
    who loses to it is in nobody else's way.
    """
    found = {at: lost for at, one in enumerate(members) if (lost := _against_gateway(one, host)) is not None}
    left = [at for at in range(len(members)) if at not in found]
    inner = listeners.conflicts(tuple(members[at] for at in left))
    return found | {left[at]: conflict for at, conflict in inner.items()}


def _against_gateway(one: gateway_model.Listener, host: gateways.Host) -> listeners.Conflict | None:
    taken = host.claims.get(listeners.place(one))
    if taken is None:
        return None
    family, flavours = taken
    if listeners.family(one) is not family:
        return _port_conflict(one, family.value, "the Gateway's own listeners")
    flavour = flavours.get(listeners.covered(one))
    return None if flavour is None else _host_conflict(one, flavour, "a listener of the Gateway")


def _port_conflict(one: gateway_model.Listener, family: str, who: str) -> listeners.Conflict:
    return listeners.Conflict("ProtocolConflict", f"on port {one.port} {who} speak {family}")


def _host_conflict(one: gateway_model.Listener, flavour: str, who: str) -> listeners.Conflict:
    message = f"{who} serves {listeners.hosts_of(one)} on port {one.port}"
    alike = flavour == listeners.flavour(one)
    return listeners.Conflict("HostnameConflict" if alike else "ProtocolConflict", message)


def _report(
    ctx: Context,
    sources: Sources,
    ref: Ref,
    item: base.Object[model.ListenerSet],
    standing: Standing,
    host: gateways.Host,
    ports: _Ports,
    winners: _Winners,
) -> Report:
    if standing.refusal is not None:
        reason, message = standing.refusal
        conditions = tuple(
            base.Condition(kind, False, reason, message) for kind in ("Accepted", "Programmed")
        )
        return Report(None, conditions, (), attachment.Doors(True), None, standing.findings)
    beaten = _beaten(item.spec.listeners, host)
    reports: list[listeners.Report] = []
    findings: list[Diagnostic] = []
    for at, one in enumerate(item.spec.listeners):
        conflict = beaten.get(at)
        if conflict is None:
            conflict = _against_sets(ctx, standing.gateway, ref, at, one, ports, winners)
        clients = clientcas.NONE
        if host.spec is not None and one.protocol == "HTTPS":
            vault = sources.listeners.vault
            clients = clientcas.judge(
                ctx, sources.listeners.grants, vault.flaws, standing.gateway, host.spec, one.port
            )
        origin = Origin(ref, ("spec", "listeners", at))
        reports.append(listeners.judge(ctx, sources.listeners, origin, one, conflict, clients))
        findings += reports[-1].findings
    accepted = _acceptance(ref, reports, findings)
    served = tuple(r.listener for r in reports if r.listener is not None)
    if accepted.status and served:
        programmed = base.Condition("Programmed", True, "Programmed", "the listeners are configured")
    else:
        why = accepted.message if not accepted.status else "none of the listeners can be served"
        programmed = base.Condition(
            "Programmed", False, "Invalid" if accepted.status else accepted.reason, why
        )
    made = None
    if programmed.status:
        age = (*host.age, item.meta.created or "~", ref.id)
        made = ir.Gateway(
            ref, host.addresses, served, age, Origin(ref, ("spec",)), host.certificate, standing.gateway
        )
    return Report(
        made,
        (accepted, programmed),
        tuple(reports),
        attachment.Doors(True, tuple(one.door for one in reports)),
        standing.gateway if accepted.status else None,
        (*standing.findings, *findings),
    )


def _against_sets(
    ctx: Context,
    gateway: Ref,
    ref: Ref,
    at: int,
    one: gateway_model.Listener,
    ports: _Ports,
    winners: _Winners,
) -> listeners.Conflict | None:
    family = listeners.family(one)
    if family is None:
        return None
    place, hostname = listeners.place(one), listeners.covered(one)
    spoken = ctx.fetch(ports, (gateway, place))
    if spoken is not None and spoken.family != family.value:
        return _port_conflict(one, spoken.family, "the listeners of an older ListenerSet")
    winner = ctx.fetch(winners, (gateway, place, family.value, hostname))
    if winner is None or (winner.ref, winner.at) == (ref, at):
        return None
    return _host_conflict(one, winner.flavour, "a listener of an older ListenerSet")


def _acceptance(ref: Ref, reports: Iterable[listeners.Report], findings: list[Diagnostic]) -> base.Condition:
    refused = [one.name for one in reports if not one.accepted]
    if all(not one.accepted for one in reports):
        message = "none of the listeners can be accepted"
        findings.append(error("DRG1208", message, Origin(ref, ("spec", "listeners"))))
        return base.Condition("Accepted", False, "ListenersNotValid", message)
    if refused:
        message = f"not served: {', '.join(refused)}; the other listeners are"
        return base.Condition("Accepted", True, "ListenersNotValid", message)
    return base.Condition("Accepted", True, "Accepted", "the ListenerSet is attached")
