"""Which listeners a route stands on: parentRefs against listeners' names, ports, kinds, namespaces and
host names.

A route sees of a Gateway or ListenerSet only its *doors*, so that certificates, annotations and addresses
of the Gateway make no route run again.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dragoman import frozen
from dragoman.diagnostics import Diagnostic, Severity, error, warning
from dragoman.graph.collection import Collection, Context
from dragoman.ir import hosts, model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import complaints, identical, names
from dragoman.translators.gateway.models import gateway, meta

NAME_LABEL: Final = "kubernetes.io/metadata.name"
_ACCEPTED: Final = base.Condition("Accepted", True, "Accepted", "the route is attached")


@dataclass(frozen=True, slots=True)
class Door:
    """What a route sees of a listener. `kinds`: kinds of routes that it admits; `hostname` "" is any."""

    name: str
    port: int
    hostname: str
    kinds: tuple[str, ...]
    namespaces: gateway.RouteNamespaces
    passthrough: bool = False


@dataclass(frozen=True, slots=True)
class Doors:
    """What a route sees of a Gateway or ListenerSet. `ours` False: another controller's."""

    ours: bool
    listeners: tuple[Door, ...] = ()

    def named(self, name: str) -> Door | None:
        return next((door for door in self.listeners if door.name == name), None)


@frozen.statically
@dataclass(frozen=True, slots=True)
class Parent:
    """One parentRef that leads to a Gateway or ListenerSet of ours."""

    wanted: meta.ParentReference
    accepted: base.Condition
    listeners: tuple[tuple[Ref, str], ...] = ()
    """Where it led."""


_known: Final[identical.Translations[Parent]] = identical.Translations()


@frozen.statically
@dataclass(frozen=True, slots=True)
class Attached:
    """Where a route stands, and what its parents said. `met`: the listeners where routes of another kind want
    the same; `age`: who comes first there (`rivals`)."""

    attachments: tuple[ir.Attachment, ...]
    parents: tuple[Parent, ...]
    findings: tuple[Diagnostic, ...]
    met: tuple[tuple[Ref, str], ...] = ()
    age: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Sources:
    """What attaching looks at."""

    doors: Collection[Ref, Doors]
    namespaces: Collection[Ref, tuple[tuple[str, str], ...]]
    names: Mapping[str, names.Names]
    """Kind of parent -> names."""


def attach(
    ctx: Context,
    sources: Sources,
    ref: Ref,
    parent_refs: tuple[meta.ParentReference, ...],
    hostnames: tuple[str, ...] = (),
) -> Attached:
    """Tries every parentRef of a route. `hostnames`: the route's own; none stands for any."""
    found: dict[tuple[Ref, str], ir.Attachment] = {}
    parents: list[Parent] = []
    findings: list[Diagnostic] = []
    for at, wanted in enumerate(parent_refs):
        origin = Origin(ref, ("spec", "parentRefs", at))
        parent = _parent(wanted.group, wanted.kind, wanted.namespace or ref.namespace, wanted.name)
        known = sources.names.get(wanted.kind)
        if wanted.group != meta.GATEWAY_GROUP or known is None:
            findings.append(_foreign(wanted, origin))
            continue
        doors = ctx.fetch(sources.doors, parent)
        if doors is None:
            hint = names.hint(ctx, known, parent)
            findings.append(error("DRG2001", f"{parent} is not there", origin.at("name"), help=hint))
            continue
        if not doors.ours:
            continue
        outcome = _try(ctx, sources, ref, hostnames, wanted, parent, doors, origin)
        if isinstance(outcome, _Refusal):
            parents.append(
                Parent(wanted, base.Condition("Accepted", False, outcome.reason, outcome.finding.message))
            )
            findings.append(outcome.finding)
            continue
        parents.append(_accepted(wanted, tuple([one.place for one in outcome])))
        for item in outcome:
            found.setdefault(item.place, item)
    if not parent_refs:
        origin = Origin(ref, ("spec",))
        label = "`parentRefs` says which Gateway serves the route"
        findings.append(warning("DRG2001", "the route names no parent", origin, label=label))
    if found and len(hostnames) > 1:
        findings += _idle_hostnames(ref, hostnames, found)
    return Attached(tuple(found.values()), tuple(parents), tuple(findings))


def _accepted(wanted: meta.ParentReference, places: tuple[tuple[Ref, str], ...]) -> Parent:
    known = _known.of(wanted)
    if known is not None and known.listeners == places:
        return known
    return _known.keep(wanted, Parent(wanted, _ACCEPTED, places))


@functools.lru_cache(maxsize=1024)
def _parent(group: str, kind: str, namespace: str, name: str) -> Ref:
    """Thousands of routes have the same few parents: the reference to each is there once."""
    return Ref(group, kind, namespace, name)


@dataclass(frozen=True, slots=True)
class _Refusal:
    reason: str
    finding: Diagnostic


def _try(
    ctx: Context,
    sources: Sources,
    ref: Ref,
    own: tuple[str, ...],
    wanted: meta.ParentReference,
    parent: Ref,
    doors: Doors,
    origin: Origin,
) -> list[ir.Attachment] | _Refusal:
    named: Sequence[Door] = doors.listeners
    if wanted.section_name is not None or wanted.port is not None:
        named = [
            door
            for door in named
            if wanted.section_name in (None, door.name) and wanted.port in (None, door.port)
        ]
    if not named:
        return _Refusal("NoMatchingParent", _no_listener(wanted, parent, doors, origin))
    admitting = [door for door in named if _admits(ctx, sources, door, ref, parent)]
    if not admitting:
        return _Refusal("NotAllowedByListeners", _not_admitted(named, ref, parent, origin))
    attachments: list[ir.Attachment] = []
    for door in admitting:
        hostnames = _intersection(own, door.hostname)
        if hostnames:
            attachments.append(ir.Attachment(parent, door.name, hostnames))
    if attachments:
        return attachments
    served = ", ".join(sorted({door.hostname for door in admitting}))
    message = f"no listener of {parent} serves {', '.join(own)}"
    where = Origin(ref, ("spec", "hostnames"))
    return _Refusal("NoMatchingListenerHostname", error("DRG1304", message, where, label=f"served: {served}"))


def _intersection(route: tuple[str, ...], listener: str) -> tuple[str, ...]:
    """The host names of a route on a listener, never wider than the listener's."""
    if not route:
        return (listener or hosts.ANY,)
    if not listener:
        return route if len(route) == 1 else tuple(dict.fromkeys(route))
    met = (hosts.intersect(listener, name) for name in route)
    return tuple(dict.fromkeys(name for name in met if name is not None))


def _admits(ctx: Context, sources: Sources, door: Door, route: Ref, parent: Ref) -> bool:
    """allowedRoutes: kinds and namespaces."""
    if route.kind not in door.kinds:
        return False
    source = door.namespaces.from_
    if source == "Same":
        return route.namespace == parent.namespace
    if source == "All" or door.namespaces.selector is None:
        return source == "All"
    return selects(door.namespaces.selector, labels(ctx, sources.namespaces, route.namespace))


def labels(
    ctx: Context, namespaces: Collection[Ref, tuple[tuple[str, str], ...]], namespace: str
) -> dict[str, str]:
    """A namespace's labels. Kubernetes sets one on each, so a namespace need not be described."""
    described = ctx.fetch(namespaces, Ref(meta.CORE_GROUP, "Namespace", "", namespace))
    return {**dict(described or ()), NAME_LABEL: namespace}


def selects(selector: meta.LabelSelector, labels: dict[str, str]) -> bool:
    """Whether a label selector holds for these labels."""
    if any(labels.get(key) != value for key, value in selector.match_labels.items()):
        return False
    return all(_holds(line, labels) for line in selector.match_expressions)


def _holds(line: meta.LabelRequirement, labels: dict[str, str]) -> bool:
    match line.operator:
        case "In":
            return labels.get(line.key) in line.values
        case "NotIn":
            return labels.get(line.key) not in line.values
        case "Exists":
            return line.key in labels
        case "DoesNotExist":
            return line.key not in labels


# --- what to say --------------------------------------------------------------------------------------


def _foreign(wanted: meta.ParentReference, origin: Origin) -> Diagnostic:
    kind = f"{wanted.kind} of {wanted.group}" if wanted.group else wanted.kind
    return Diagnostic(
        "DRG2005",
        f"parents of kind {kind} are passed over",
        origin.ref,
        origin.path,
        Severity.INFO,
        help="routes attach to Gateways and ListenerSets here",
    )


def _no_listener(wanted: meta.ParentReference, parent: Ref, doors: Doors, origin: Origin) -> Diagnostic:
    if not doors.listeners:
        return error("DRG2002", f"{parent} is not accepted, and has no listeners", origin.at("name"))
    said = []
    if wanted.section_name is not None:
        said.append(f"named `{wanted.section_name}`")
    if wanted.port is not None:
        said.append(f"on port {wanted.port}")
    known = [door.name for door in doors.listeners]
    hint = complaints.near(wanted.section_name, known) if wanted.section_name not in (None, *known) else ""
    listed = ", ".join(f"{door.name} ({door.port})" for door in doors.listeners)
    where = origin.at(
        "port" if wanted.section_name is None or wanted.section_name in known else "sectionName"
    )
    message = f"{parent} has no listener {' '.join(said)}"
    return error("DRG2002", message, where, label=f"listeners: {listed}", help=hint)


def _not_admitted(named: Sequence[Door], ref: Ref, parent: Ref, origin: Origin) -> Diagnostic:
    listed = ", ".join(door.name for door in named)
    message = f"no listener of {parent} admits {ref.kind}s of namespace {ref.namespace}"
    wrong_kind = all(ref.kind not in door.kinds for door in named)
    if wrong_kind:
        hint = f"allowedRoutes.kinds of {listed} leave {ref.kind} out"
    else:
        sources = ", ".join(sorted({door.namespaces.from_ for door in named}))
        hint = f"allowedRoutes.namespaces of {listed} says `from: {sources}`"
    return error("DRG1303", message, origin, help=hint)


def _idle_hostnames(
    ref: Ref, hostnames: tuple[str, ...], found: dict[tuple[Ref, str], ir.Attachment]
) -> Iterator[Diagnostic]:
    """Host names that no listener serves, of a route that is attached for the sake of others."""
    served = {name for item in found.values() for name in item.hostnames}
    for at, name in enumerate(hostnames):
        if name not in served and not any(hosts.covers(name, one) for one in served):
            where = Origin(ref, ("spec", "hostnames", at))
            yield warning("DRG1304", f"no listener that the route stands on serves {name}", where)
