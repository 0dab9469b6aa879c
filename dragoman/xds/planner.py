"""Make before break: what of a substream's pending names may be sent now, and what has to wait.

One change reaches a client in phases (rules 59 to 70): clusters that are new or changed, with their
endpoints; once the client ACKs them (Envoy does when they are warm) the listeners and routes that use them;
once those are ACKed, the removal of what nothing uses any more. Nobody computes phases, though. Two
questions, asked of each resource whenever something may be sent, yield them:

- a listener or route table waits while it refers to a cluster that was not sent, or is new and not ACKed;
  either also for the configurations of filters (ECDS) to be sent: routes name parts of them, and listeners
  have their connection managers there;
- a removal waits while something that the client may still be using refers to the name.

So what is not concerned flows at once, and changes that overlap cannot deadlock: clusters and endpoints
wait for nothing. Both kinds of waiting end after `patience` seconds, but for what a client goes on using
because it NACKed the successor.

Everything works on names that changed, and on what `Resource.refs` says of them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from dragoman.resource import (
    CHAIN,
    CLUSTER,
    ENDPOINT,
    EXTENSION,
    LISTENER,
    ROUTE,
    SCOPE,
    SECRET,
    Resource,
    owner,
)
from dragoman.xds.known import UNKNOWN, Known, Unproven
from dragoman.xds.substream import Substream
from dragoman.xds.wire import Form

USES: Final[Mapping[str, tuple[str, ...]]] = {
    LISTENER: (CLUSTER, SCOPE, EXTENSION),
    CHAIN: (CLUSTER, SCOPE, EXTENSION),
    ROUTE: (CLUSTER, LISTENER, EXTENSION),
    SCOPE: (CLUSTER, LISTENER, EXTENSION),
}
"""What must be there before a resource of the type is sent. Filter configurations (ECDS) refer to no cluster:
what a filter calls is named by the routes. Few tables refer to listeners: inner ones, that their cached
routes go through. Scopes (SRDS) are tables; a listener is in use before its scopes come, if they are not
there already, so it follows them. Likewise it follows connection managers that the client asked for."""

PACE: Final = 1e-5
"""Seconds for each byte of a large spare resource between two of its versions on one stream: some fifty
times what Envoy takes to apply it."""

SMALL: Final = 64 * 1024
"""Bytes up to which a spare resource is sent whenever it changes, as it was before it became one."""

USED_BY: Final[Mapping[str, tuple[str, ...]]] = {
    CLUSTER: (LISTENER, ROUTE, SCOPE, CHAIN),
    LISTENER: (ROUTE, SCOPE),
    ENDPOINT: (CLUSTER,),
    EXTENSION: (LISTENER, CHAIN),
    ROUTE: (LISTENER, CHAIN),
    SCOPE: (LISTENER, CHAIN),
    SECRET: (LISTENER, CLUSTER),
}
"""Whose references keep a resource of the type from being removed."""


@dataclass(slots=True)
class Plan:
    """What to send of one type. `whole`: everything the client wants, `upserts` then being left empty;
    `held`: upserts that wait; `mute`: removals that have no form on the wire; `wake`: when waiting ends at
    the latest."""

    whole: bool = False
    upserts: dict[str, Resource] = field(default_factory=dict)
    removals: list[str] = field(default_factory=list)
    mute: list[str] = field(default_factory=list)
    held: set[str] = field(default_factory=set)
    parked: set[str] = field(default_factory=set)
    wake: float | None = None

    def _wake_at(self, moment: float) -> None:
        if self.wake is None or moment < self.wake:
            self.wake = moment


def plan(
    sub: Substream, streams: Mapping[str, Substream], now: float, patience: float, *, expecting: bool
) -> Plan:
    """What may be sent of `sub`. `streams` are all types of its stream; `expecting` says that a client
    that came back may still ask for others."""
    out = Plan()
    gates = list(_gates(sub, streams, now, patience, out))
    if sub.fresh:
        if gates and any(gate.shuts_out(resource) for resource in sub.wanted() for gate in gates):
            # A first answer is a whole one: a proxy takes it for all there is, and declares itself ready.
            return out
        out.whole = True
    gone: dict[str, Known] = {}
    changed: list[tuple[str, Resource]] = []
    sub.abandon()
    trial = sub.trials[-1] if sub.trials else None
    if trial is not None:
        # A refused response in parts: the next one, as it should be by now. Everything else waits.
        changed = [(name, target) for name in trial if (target := sub.target(name)) is not None]
        out.held.update(sub.pending.keys() - trial)
    else:
        for name, known in sub.pending.items():
            target = sub.target(name)
            if target is not None:
                changed.append((name, target))
            elif known is None:
                out.mute.append(name)
            else:
                gone[name] = known
    if not out.whole:
        _sort(out, changed if trial else _due(out, sub, changed, now), gates)
        if sub.type_url == LISTENER:
            _one_begins(out, sub, streams, now, patience)
            _after_chains(out, sub, streams, now, patience, expecting=expecting)
    if trial is not None:
        out.upserts = {name: item.anew(sub.attempts[name]) for name, item in out.upserts.items()}
        return out
    for name in sub.owed:
        resource = sub.view.get(sub.type_url, name)
        if resource is not None and name not in out.held:
            out.upserts[name] = resource
    if gone:
        _remove(sub, streams, gone, now, patience, expecting, out)
    if sub.type_url == CHAIN and out.removals:  # alone, so that nothing in the response can be refused
        out.held.update(out.upserts)
        out.upserts.clear()
    return out


def _due(
    out: Plan, sub: Substream, changed: Iterable[tuple[str, Resource]], now: float
) -> Iterator[tuple[str, Resource]]:
    """Without the large spare ones that were sent a moment ago."""
    for name, resource in changed:
        before = sub.paced.get(name) if resource.spare and resource.size > SMALL else None
        moment = now if before is None else before + resource.size * PACE
        if now < moment:
            out.held.add(name)
            out._wake_at(moment)
        else:
            yield name, resource


# --- upserts: wait for what they refer to ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Gate:
    """Names of `type_url` that are not there yet; None: none is."""

    type_url: str
    names: frozenset[str] | None

    def shuts_out(self, resource: Resource) -> bool:
        refs = resource.refers(self.type_url)
        if not refs:
            return False
        return self.names is None or bool(_common(resource, self.type_url, self.names))


@functools.lru_cache(maxsize=32)
def _common(resource: Resource, type_url: str, names: frozenset[str]) -> frozenset[str]:
    """Those of `names` that the resource refers to. Kept, because every stream of a group asks the same,
    and a large route table has many parts."""
    refs = resource.refers(type_url)
    return frozenset() if refs.isdisjoint(names) else names.intersection(refs)


def _gates(
    sub: Substream, streams: Mapping[str, Substream], now: float, patience: float, out: Plan
) -> Iterator[_Gate]:
    for type_url in USES.get(sub.type_url, ()):
        other = streams.get(type_url)
        if other is None:
            continue
        if other.fresh:
            # Connection managers are asked for once there is a listener; the first scopes may wait for it.
            if type_url != SCOPE and (sub.type_url not in (LISTENER, CHAIN) or type_url != EXTENSION):
                yield _Gate(type_url, None)
            continue
        if other.pending:
            unsent = frozenset(name for name in other.pending if other.target(name) is not None)
            if unsent:
                yield _Gate(type_url, unsent)
        for group in other.unproven:
            if now < group.since + patience:
                out._wake_at(group.since + patience)
                yield _Gate(type_url, group.names)


def _sort(out: Plan, resources: Iterable[tuple[str, Resource]], gates: list[_Gate]) -> None:
    for name, resource in resources:
        if any(gate.shuts_out(resource) for gate in gates):
            out.held.add(name)
        else:
            out.upserts[name] = resource


def unproven(sub: Substream, upserts: Iterable[Resource], now: float) -> Unproven | None:
    """Of clusters or listeners about to be sent, those whose users must wait for the ACK.

    New ones, whatever their kind: a DNS cluster warms as well. Of changed ones those with endpoints of
    their own (61).
    """
    names = frozenset(
        r.name
        for r in upserts
        if r.refers(ENDPOINT) or not isinstance(sub.pending.get(r.name), Resource | str)
    )
    return Unproven(names, now) if names else None


def _one_begins(
    out: Plan, sub: Substream, streams: Mapping[str, Substream], now: float, patience: float
) -> None:
    """Of several listeners that begin to look in scopes one goes first, and the others when the client has
    ACKed its scopes. Envoy watches scopes for all of them together, and has only the one that began the watch
    wait for what comes of it: another would answer 404 meanwhile. The first answer of a stream needs none of
    it: Envoy does not serve before it has everything."""
    begin = [name for name, item in out.upserts.items() if _looks(item) and not _looks(_before(sub, name))]
    until = (sub.dirty_since if sub.dirty_since is not None else now) + patience
    if not begin or len(streams) < 2 or now >= until:  # who speaks one type alone has its scopes elsewhere
        return
    if any(_looks(sub.pending.get(item.name, item)) for item in sub.wanted()):
        scopes = streams.get(SCOPE)
        idle = scopes is not None and not (scopes.fresh or scopes.owed or scopes.flight)
        waiting = [] if idle else begin
    else:
        waiting = begin[1:]
    for name in waiting:
        del out.upserts[name]
        out.held.add(name)
        out._wake_at(until)


def _before(sub: Substream, name: str) -> Known:
    """What the client has of a name that is to be sent. One that is tried again may have changed back to that
    meanwhile."""
    return sub.pending.get(name, UNKNOWN)


def _looks(known: Known) -> bool:
    """Whether a listener that the client has, or is to have, looks in scopes; so it is said of one that
    nobody knows."""
    return bool(known.refers(SCOPE)) if isinstance(known, Resource) else known is not None


def _after_chains(
    out: Plan,
    sub: Substream,
    streams: Mapping[str, Substream],
    now: float,
    patience: float,
    *,
    expecting: bool,
) -> None:
    """Filter chains that go are taken from the client before the listener stops to name them, however long
    that takes: Envoy 1.40 crashes when a listener lets go of a chain that still has connections. Who comes
    back to such a listener is going to say which chains it has; and who comes back to another may have such a
    one all the same, of a response that it refused in part, and is given some time."""
    # One that the client does not have has no connections either.
    fetching = [name for name, item in out.upserts.items() if item.fetches and _before(sub, name) is not None]
    chains = streams.get(CHAIN)
    if chains is not None:
        waiting = fetching if _loses_chains(chains) else []
    elif fetching and sub.returning and expecting:
        out._wake_at(now + patience)
        waiting = fetching
    else:
        waiting = [name for name in fetching if name in sub.brought]
    for name in waiting:
        del out.upserts[name]
        out.held.add(name)


def _loses_chains(chains: Substream) -> bool:
    """Whether some are to be taken from the client, or have been and it has not said so."""
    gone = (name for name, known in chains.pending.items() if known is not None)
    under_way = chains.flight.names if chains.flight is not None else ()
    return any(
        chains.target(name) is None and not _stays(chains, name)
        for each in (gone, under_way)
        for name in each
    )


def _stays(chains: Substream, name: str) -> bool:
    """Whether a filter chain is left to the client although it is gone: its listener has all of its chains in
    it by now. That is another listener for Envoy, and the former serves with its chains until the new one is
    warm, drains, and lets go of them by itself."""
    listener = chains.view.get(LISTENER, owner(name))
    return listener is not None and not listener.fetches


def silent(streams: Mapping[str, Substream]) -> tuple[str, ...]:
    """Listeners that wait because the client came back with them and does not say which filter chains it
    has."""
    sub = streams.get(LISTENER)
    if sub is None or not sub.brought or CHAIN in streams:
        return ()
    found = ((name, sub.target(name)) for name in sorted(sub.brought & sub.pending.keys()))
    return tuple(name for name, item in found if item is not None and item.fetches)


# --- removals: wait for whom they are used by ------------------------------------------------------------


def _remove(
    sub: Substream,
    streams: Mapping[str, Substream],
    gone: Mapping[str, Known],
    now: float,
    patience: float,
    expecting: bool,
    out: Plan,
) -> None:
    # A name that is asked for and does not exist is no removal: the answer may end a warming (44, 62).
    names = frozenset(name for name, known in gone.items() if isinstance(known, Resource | str))
    used: set[str] = set()
    pinned: set[str] = set()
    for type_url in USED_BY.get(sub.type_url, ()) if names else ():
        other = streams.get(type_url)
        if other is None:
            # A client that comes back asks for its other types presently, and then says what it has.
            # Endpoints do not wait for that: a cluster may be warming for lack of the answer (62). Nor do
            # listeners: few are used by tables, while tables wait for listeners.
            # Who has no scopes never asks for them, and so with chains.
            asked = type_url not in (SCOPE, CHAIN) or bool(sub.view.resources(type_url))
            if asked and sub.returning and expecting and sub.type_url not in (ENDPOINT, LISTENER):
                used |= names
            continue
        if other.opaque and sub.type_url != LISTENER:
            used |= names
        for record in (other.pending, other.replaced):
            for known in record.values():
                if sub.type_url != LISTENER or isinstance(known, Resource):
                    used |= _uses(known, sub.type_url, names)
        for known in other.rejected.values():
            if isinstance(known, Resource):
                pinned |= _uses(known, sub.type_url, names)
    for name in gone:
        if name in pinned or (sub.type_url == CHAIN and name in names and _stays(sub, name)):
            out.parked.add(name)
            continue
        if name in used:
            since = sub.parked.setdefault(name, now)
            if now < since + patience:
                out.parked.add(name)
                out._wake_at(since + patience)
                continue
        kept = sub.type_url == EXTENSION and name in names
        if kept or (sub.form is Form.SOTW and not sub.full_state):
            # Rule 27. Envoy forgets a filter's configuration with the last chain that names it. Taken away
            # while that is drained, and given again for a new one, it would make the old chain's anew, and
            # Envoy never begins to watch scopes for a listener that is there already.
            out.mute.append(name)
        else:
            out.removals.append(name)


def _uses(known: Known, type_url: str, names: frozenset[str]) -> frozenset[str]:
    """Those of `names` that a resource the client has refers to; all, if it cannot be told."""
    if known is None:
        return frozenset()
    if not isinstance(known, Resource):
        return names
    return _common(known, type_url, names) if known.refers(type_url) else frozenset()
