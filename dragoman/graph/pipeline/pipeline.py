"""`Pipeline`: documents in, live views out. See the package's docstring for the picture."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from dragoman import config, resource
from dragoman.diagnostics import Diagnostic, Span, warning
from dragoman.document import Document
from dragoman.envoy import naming, ratelimit_service, scoping
from dragoman.graph.collection import Change, Graph
from dragoman.graph.pipeline import assembly, binds, compromises, rejections, statuses
from dragoman.graph.pipeline.groups import Groups
from dragoman.graph.pipeline.intake import Intake
from dragoman.graph.pipeline.limits import Told
from dragoman.ir import model as ir
from dragoman.ir.rollouts import Plan, Progress
from dragoman.refs import FieldPath, Ref
from dragoman.resource import Resource
from dragoman.sources.base import Update
from dragoman.translators import base, gateway
from dragoman.xds.snapshot import Snapshot, View
from dragoman.xds.types import Rejection

DRAGOMAN_GROUP: Final = "dragoman.dev"
"""Our own kinds. Others are the API server's to check; these say themselves what is wrong with them."""


@dataclass(frozen=True, slots=True)
class GroupIR:
    """The IR of one node group, for `explain` and `diff`. `compromises`: listeners that do not have
    everything as their policies say."""

    listeners: Mapping[ir.Bind, ir.Listener]
    hosts: Mapping[ir.Scope, Mapping[str, ir.VirtualHost]]
    clusters: Mapping[ir.ClusterKey, ir.Cluster]
    endpoints: Mapping[ir.ClusterKey, ir.EndpointSet]
    route_sets: Mapping[Ref, ir.RouteSet]
    streams: Mapping[tuple[Ref, str], ir.StreamRoute]
    gateways: Mapping[Ref, ir.Gateway]
    compromises: tuple[compromises.Compromise, ...] = ()


class Pipeline:
    """Everything between sources and xDS. Single-threaded; the runtime calls it from one task."""

    def __init__(
        self,
        settings: config.Settings | None = None,
        translators: Sequence[base.Translator] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._settings = settings or config.Settings()
        self._graph = Graph()
        if translators is None:
            translators = (
                gateway.Translator(
                    controller=self._settings.gateways.controller,
                    addresses=lambda ref: assembly.addresses(self._settings.gateways, ref),
                ),
            )
        self._intake = Intake(self._graph, translators)
        self._outputs = _merge(self._graph, [t.build(self._graph, self._intake.objects) for t in translators])
        self._groups = Groups(self._graph, self._outputs, self._settings.gateways)
        self._views: dict[str, View] = {}
        self._uses: dict[str, int] = {}
        self._pending: dict[str, dict[str, dict[str, Resource | None]]] = {}
        self._source_findings: tuple[Diagnostic, ...] = ()
        self._rejections = rejections.Blame(self._groups.objects_in)
        self._touched: list[Ref] = []
        groups = self._groups
        self._watch(groups.listeners, resource.LISTENER, lambda key: naming.listener(key[1]))
        if groups.discovery is not None:
            self._watch(groups.discovery.chains, resource.CHAIN, lambda key: key[1])
            self._watch(groups.discovery.wholes, resource.WHOLE, lambda key: naming.listener(key[1]))
        self._watch(groups.tables, resource.ROUTE, lambda key: naming.route_config(key[1]))
        self._watch(
            groups.scopes, resource.SCOPE, lambda key: scoping.name(naming.route_config(key[1]), *key[2:])
        )
        self._watch(groups.clusters, resource.CLUSTER, lambda key: naming.cluster(key[1]))
        self._watch(groups.inner_listeners, resource.LISTENER, lambda key: naming.inner(key[1]))
        self._watch(groups.inner_clusters, resource.CLUSTER, lambda key: naming.inner(key[1]))
        self._watch(groups.limits.clusters, resource.CLUSTER, lambda key: key[1])
        self._watch(groups.limits.secrets, resource.SECRET, lambda key: key[1])
        groups.limits.published.subscribe(self._published)
        self._watch(groups.authz.clusters, resource.CLUSTER, lambda key: key[1])
        self._watch(groups.authz.secrets, resource.SECRET, lambda key: key[1])
        self._watch(groups.endpoints, resource.ENDPOINT, lambda key: naming.cluster(key[1]))
        self._watch(groups.extensions.resources, resource.EXTENSION, lambda key: key[1])
        self._watch(groups.managers, resource.EXTENSION, lambda key: key[1])
        self._watch(groups.secrets, resource.SECRET, lambda key: naming.secret(key[1]))
        self._limits_taken: Callable[[Collection[ir.RateLimit]], Mapping[Told, Resource]] | None = None
        self._limits_changed = False
        groups.limits.counted.subscribe(self._note_limits)
        own = self._settings.ratelimit
        groups.limits.at(
            *(
                ratelimit_service.Place(((own.reached, port),))
                for port in (
                    own.port or config.RATELIMIT_PORT,
                    own.streams_port or config.RATELIMIT_STREAMS_PORT,
                )
            )
        )
        self._authz_taken: Callable[[Collection[ir.Asked]], ratelimit_service.Place | None] | None = None
        self._authz_changed = False
        self._outputs.lookups.subscribe(self._note_lookups)
        companion = self._settings.authz
        groups.authz.at(ratelimit_service.Place(((companion.reached, companion.port or config.AUTHZ_PORT),)))

    # --- documents in -------------------------------------------------------------------------------------

    def apply(self, update: Update) -> None:
        """Takes in what a source says. Nothing moves until `commit`."""
        for ref in update.deletes:
            self._intake.remove(ref)
            self._touched.append(ref)
        for document in update.upserts:
            if self._intake.put(document):
                self._touched.append(document.ref)
        self._source_findings = update.diagnostics

    def load(self, documents: Iterable[Document]) -> None:
        """`apply` and `commit` for plain documents."""
        self.apply(Update(upserts=tuple(documents)))
        self.commit()

    def commit(self) -> None:
        """Brings the graph up to date and hands every active view what changed for it."""
        for _ in self.steps():
            pass

    def steps(self) -> Iterator[None]:
        """`commit` in pieces of a few milliseconds. Views change at the end; it must be run to there."""
        yield from self._graph.steps()
        if self._groups.settle(self._clock()):
            yield from self._graph.steps()
        self._deliver()
        self._touched.clear()

    def count_limits(
        self,
        asked: ratelimit_service.Place,
        streams: ratelimit_service.Place,
        taken: Callable[[Collection[ir.RateLimit]], Mapping[Told, Resource]],
    ) -> None:
        """Says where the rate-limit service is asked, and where it takes streams; and who is to be told of
        every change of its limits: of all of them, before any proxy hears of it, and gives back what services
        that run elsewhere are told. Takes effect with the next commit."""
        self.place_limits(asked, streams)
        self._limits_taken = taken
        self._limits_changed = True

    def place_limits(self, asked: ratelimit_service.Place, streams: ratelimit_service.Place) -> None:
        """Says anew where the rate-limit service is. Takes effect with the next commit."""
        self._groups.limits.at(asked, streams)

    def ask_authz(self, taken: Callable[[Collection[ir.Asked]], ratelimit_service.Place | None]) -> None:
        """Says what is to be told of every change of the policies that have credentials looked up: all of
        them, before any proxy hears of it. It answers where Envoys find whoever looks them up, if anywhere.
        Takes effect with the next commit."""
        self._authz_taken = taken
        self._authz_changed = True

    def place_authz(self, place: ratelimit_service.Place) -> None:
        """Says where Envoys find whoever looks credentials up. Takes effect with the next commit."""
        self._groups.authz.at(place)

    def expire(self) -> None:
        """Lets go what was only kept for proxies to follow. To be called now and then."""
        if self._groups.expire(self._clock()):
            self._graph.commit()
            self._deliver()

    # --- what is fetched ----------------------------------------------------------------------------------

    @property
    def wanted(self) -> Iterable[str]:
        """The URLs whose content objects refer to."""
        return self._outputs.fetches.wanted.keys() if self._outputs.fetches is not None else ()

    def follow_wanted(self, changed: Callable[[], None]) -> None:
        """Calls `changed` when URLs come or go."""
        if self._outputs.fetches is not None:
            self._outputs.fetches.wanted.subscribe(lambda _: changed())

    def put_fetched(self, url: str, fetched: base.Fetched | None) -> None:
        """Says what a URL gave. Nothing moves until `commit`."""
        if self._outputs.fetches is None:
            return
        if fetched is None:
            self._outputs.fetches.found.remove(url)
        else:
            self._outputs.fetches.found.put(url, fetched)

    # --- views out ----------------------------------------------------------------------------------------

    def activate(self, group: str) -> View:
        """The live view of a node group, built at its first use. Pair with `deactivate`."""
        self._uses[group] = self._uses.get(group, 0) + 1
        view = self._views.get(group)
        if view is None:
            view = self._views[group] = View()
            self._groups.activate(group)
            self._advance()
            self._deliver()
        return view

    def deactivate(self, group: str) -> None:
        """One user less; the last one drops the view and all that was built for it."""
        self._uses[group] -= 1
        if self._uses[group] == 0:
            del self._uses[group], self._views[group]
            self._groups.deactivate(group)
            self._advance()
            self._pending.pop(group, None)

    def snapshot(self, group: str = "*") -> Snapshot:
        """What a node of `group` gets now."""
        view = self.activate(group)
        try:
            return view.snapshot()
        finally:
            self.deactivate(group)

    def view(self, group: str = "*") -> GroupIR:
        """The IR behind `snapshot`."""
        self.activate(group)
        try:
            outputs = self._outputs
            used = self._groups.used_by(group)
            return GroupIR(
                listeners=self._groups.listeners_of(group),
                hosts=self._groups.hosts_of(group),
                clusters={
                    key: assembly.certified(found, key)
                    for key in used
                    if (found := outputs.clusters.get(key._replace(certificate=ir.NOBODY))) is not None
                },
                endpoints={
                    place: known
                    for place in {key.place for key in used}
                    if (known := outputs.endpoints.get(place)) is not None
                },
                route_sets=dict(outputs.routes.items()),
                streams=dict(outputs.streams.items()),
                gateways={r: g for r, g in outputs.gateways.items() if assembly.matches(group, g.gateway)},
                compromises=self._groups.giving_way_of(group),
            )
        finally:
            self.deactivate(group)

    @property
    def groups(self) -> Mapping[str, View]:
        """The active groups' views."""
        return self._views

    @property
    def graph(self) -> Graph:
        """For introspection: collections, their sizes and edges."""
        return self._graph

    # --- what there is to say about it --------------------------------------------------------------------

    @property
    def objects(self) -> Mapping[Ref, base.AnyObject]:
        """Every object that the graph holds, in its last good form."""
        return {ref: item for ref in self._intake.refs() if (item := self._intake.get(ref)) is not None}

    def statuses(self) -> Mapping[Ref, base.Status]:
        """Every object's status; what does not decode and what Envoy refused is folded in."""
        found = dict(self._outputs.statuses.items())
        overridden = compromises.overridden(self._groups.giving_way())
        refused = self._rejections.by_object()
        for ref in (*overridden, *self._intake.invalid(), *refused):
            folded = self._folded(ref, overridden, refused)
            if folded is not None:
                found[ref] = folded
        return found

    def status(self, ref: Ref) -> base.Status | None:
        """One object's status, as in `statuses`; None where its kind has none."""
        overridden = compromises.overridden(self._groups.giving_way())
        return self._folded(ref, overridden, self._rejections.by_object())

    def _folded(
        self, ref: Ref, overridden: Mapping[Ref, Sequence[str]], refused: Mapping[Ref, Rejection]
    ) -> base.Status | None:
        status = self._outputs.statuses.get(ref)
        if status is not None and ref in overridden:
            status = statuses.overridden(status, overridden[ref])
        wrong = self._intake.invalid().get(ref)
        if wrong is not None and (status is not None or ref.group == DRAGOMAN_GROUP):
            status = statuses.invalid(ref, status, wrong, closed=self._intake.closed(ref))
        return status if status is None or ref not in refused else statuses.unprogrammed(status, refused[ref])

    def diagnostics(self) -> list[Diagnostic]:
        """Everything known to be wrong: reading, decoding, translating, sharing ports, and Envoy's
        refusals."""
        found = dict.fromkeys(self._source_findings)
        found.update(dict.fromkeys(self._intake.diagnostics()))
        for findings in self._outputs.diagnostics.values():
            found.update(dict.fromkeys(findings))
        found.update(dict.fromkeys(map(_lost, self._groups.losses())))
        found.update(dict.fromkeys(compromises.diagnostics(self._groups.giving_way())))
        found.update(dict.fromkeys(self._rejections.diagnostics()))
        return sorted(found, key=lambda item: item.sort_key)

    def locate(self, ref: Ref, path: FieldPath) -> Span | None:
        """`diagnostics.Locate` over the documents read."""
        return self._intake.locate(ref, path)

    def report_rejection(self, rejection: Rejection) -> tuple[Ref, ...]:
        """Takes a NACK to the objects behind it; returns them."""
        return self._rejections.add(rejection)

    def clear_rejection(self, node: str, type_url: str) -> None:
        """The node has since accepted that type."""
        self._rejections.clear(node, type_url)

    # --- rollouts -----------------------------------------------------------------------------------------

    @property
    def rollouts(self) -> Mapping[Ref, Plan]:
        """What every accepted Rollout is to do."""
        found = self._outputs.rollouts
        return dict(found.plans.items()) if found is not None else {}

    def knows(self, ref: Ref) -> bool:
        """Whether a document of this object was read, whatever came of it."""
        return self._intake.knows(ref)

    def holds(self, ref: Ref) -> bool:
        """Whether the graph holds this object."""
        return self._intake.get(ref) is not None

    def follow_rollouts(self, changed: Callable[[], None]) -> None:
        """Calls `changed` when plans have changed."""
        if self._outputs.rollouts is not None:
            self._outputs.rollouts.plans.subscribe(lambda _: changed())

    def put_progress(self, ref: Ref, progress: Progress | None) -> None:
        """Says how far a Rollout is. Nothing moves until `commit`."""
        found = self._outputs.rollouts
        if found is None:
            return
        if progress is None:
            found.progress.remove(ref)
        else:
            found.progress.put(ref, progress)
            self._touched.append(ref)

    # --- inside -------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Brings the graph up to date, and what follows from that. Views do not change yet."""
        self._graph.commit()
        if self._groups.settle(self._clock()):
            self._graph.commit()

    def _watch(self, collection: Any, type_url: str, name: Callable[[Any], str]) -> None:
        def changed(changes: list[Change[Any, Resource]]) -> None:
            for key, _, new in changes:
                names = self._pending.setdefault(key[0], {}).setdefault(type_url, {})
                names[name(key)] = new

        collection.subscribe(changed)

    def _published(self, changes: list[Change[tuple[str, str, str], Resource]]) -> None:
        for (group, type_url, name), _, new in changes:
            self._pending.setdefault(group, {}).setdefault(type_url, {})[name] = new

    def _note_limits(self, _: object) -> None:
        self._limits_changed = True

    def _note_lookups(self, _: object) -> None:
        self._authz_changed = True

    def _deliver(self) -> None:
        if self._limits_changed and self._limits_taken is not None:
            self._limits_changed = False
            told = self._limits_taken([limit for limit, _ in self._groups.limits.counted.items()])
            if self._groups.limits.publish(told):
                self._graph.commit()
        if self._authz_changed and self._authz_taken is not None:
            self._authz_changed = False
            place = self._authz_taken([asked for _, asked in self._outputs.lookups.items()])
            if place is not None:
                self._groups.authz.at(place)
                self._graph.commit()
        pending, self._pending = self._pending, {}
        for group, changes in pending.items():
            self._rejections.record(changes, self._touched)
            view = self._views.get(group)
            if view is not None:
                view.apply(changes)


def _merge(graph: Graph, outputs: Sequence[base.Outputs]) -> base.Outputs:
    """One output of several languages. Their objects differ by group and kind, so keys never meet."""
    first, *others = outputs
    if not others:
        return first
    names = [name for name in base.Outputs.__slots__ if name not in ("rollouts", "fetches")]
    merged: dict[str, Any] = {name: graph.union(name, *(getattr(o, name) for o in outputs)) for name in names}
    rolling = next((o.rollouts for o in outputs if o.rollouts is not None), None)
    fetching = next((o.fetches for o in outputs if o.fetches is not None), None)
    return replace(first, rollouts=rolling, fetches=fetching, **merged)


def _lost(loss: binds.Loss) -> Diagnostic:
    bind = loss.place
    winner, loser = loss.winner, loss.loser
    spoken = winner.listener.protocol.value
    what = f"host {winner.hostname} on port" if winner.family is loser.family else "port"
    return warning(
        "DRG3901",
        f"{what} {bind.port} of {bind.address} already speaks {spoken}",
        loser.listener.origin,
        notes=[f"{winner.gateway} listener `{winner.listener.name}` is older and keeps it"],
        help="give one of the two Gateways an address of its own (spec.addresses), or a proxy of its own",
    )
