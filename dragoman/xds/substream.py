"""One type on one stream: what the client wants, what it has, and what it has yet to get.

What a client *has* is not listed. It is the view's content within the subscription, except for the names in
`pending`: those changed since they were last sent, and their entry says what the client was sent last. So a
stream costs memory for what is under way, not for what is there, and a change costs the change; nothing is
ever queued (rules 79, 81).

Three more records serve make-before-break: `replaced` (what a response under way replaces, until the client
ACKs it), `rejected` (what the client goes on using because it refused the successor) and `unproven` (clusters
that were sent and may not be warm). `planner` reads them; `session` drives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from dragoman.resource import (
    CHAIN,
    CLUSTER,
    FETCHING,
    GO_LIMITS,
    LIMITS,
    LISTENER,
    SCOPE,
    SECRET,
    Resource,
)
from dragoman.xds import subscription
from dragoman.xds.known import UNKNOWN, Flight, Known, Unknown, Unproven, same, weight
from dragoman.xds.snapshot import MODULUS, fingerprint, version_of
from dragoman.xds.types import ResourceView
from dragoman.xds.wire import Form, Request

FULL_STATE: Final = frozenset({CLUSTER, LISTENER, SCOPE, LIMITS, GO_LIMITS})
"""Types of which a state-of-the-world response is always the complete set: absence is removal (rule 25).
Envoyproxy/ratelimit takes each response for all there is."""


_IN_PART: Final = "Error adding/updating "
"""How Envoy's complaint begins about clusters or listeners when it has taken the others of the response."""


class Substream:
    """State of one (stream, type). Pure: no clock, no I/O."""

    __slots__ = (
        "_total",
        "answer",
        "attempts",
        "brought",
        "dirty_since",
        "flight",
        "form",
        "fresh",
        "last_nonce",
        "nacked",
        "opaque",
        "owed",
        "paced",
        "parked",
        "pending",
        "rejected",
        "replaced",
        "returning",
        "subscription",
        "suspects",
        "trials",
        "type_url",
        "unproven",
        "view",
    )

    def __init__(self, type_url: str, form: Form, view: ResourceView) -> None:
        self.type_url = type_url
        self.form = form
        self.view = view
        self.subscription = subscription.Subscription(legacy=type_url in subscription.LEGACY_WILDCARD)
        self.fresh = False  # everything under the wildcard has yet to be sent
        self.answer = False  # a response is due even if it has nothing in it (rules 24, 38)
        self.pending: dict[str, Known] = {}
        self.owed: set[str] = set()  # names to send whether they changed or not (rule 60)
        self.parked: dict[str, float] = {}  # removals that wait, and since when
        self.flight: Flight | None = None
        self.last_nonce = ""
        self.replaced: dict[str, Known] = {}
        self.rejected: dict[str, Known] = {}
        self.nacked: dict[str, str] = {}  # what it refuses by now, and its words about each
        self.suspects: dict[str, str] = {}  # versions that it may refuse although it ACKs them (`divide`)
        self.trials: list[frozenset[str]] = []  # parts of a refused response, the next one last (`divide`)
        self.attempts: dict[str, int] = {}  # how often names of theirs were refused along with others
        self.paced: dict[str, float] = {}  # when spare resources were sent last
        self.unproven: list[Unproven] = []
        self.returning = False  # the client brought state from an earlier stream
        self.brought: frozenset[str] = frozenset()  # ... and these listeners of it name filter chains
        self.opaque = False  # ... which nobody can see (SotW), until it ACKs what we sent
        self.dirty_since: float | None = None
        self._total = 0  # SotW: of what the client has

    # --- what is there and what is wanted ----------------------------------------------------------------

    @property
    def dirty(self) -> bool:
        """Whether something may have to be sent."""
        return bool(self.pending) or self.fresh or self.answer or bool(self.owed)

    @property
    def full_state(self) -> bool:
        """Whether each response must hold everything."""
        return self.form is Form.SOTW and self.type_url in FULL_STATE

    @property
    def version(self) -> str:
        """SotW's version_info: a hash of exactly what the client has once it has taken everything sent."""
        return version_of(self._total)

    def version_after(self, upserts: Mapping[str, Resource], removals: Iterable[str]) -> str:
        """`version` once a response with these changes is sent."""
        if self.fresh:
            return self.view.version(self.type_url)
        total = self._total
        for name, resource in upserts.items():
            if name in self.pending:
                total += fingerprint(resource) - weight(self.pending[name])
        for name in removals:
            total -= weight(self.pending[name])
        return version_of(total)

    def target(self, name: str) -> Resource | None:
        """What the client should have of a name."""
        return self.view.get(self.type_url, name) if name in self.subscription else None

    def known(self, name: str) -> Known:
        """What the client was sent last of a name."""
        if name in self.pending:
            return self.pending[name]
        return None if self.fresh else self.target(name)

    def wanted(self) -> Iterator[Resource]:
        """Everything the client should have."""
        there = self.view.resources(self.type_url)
        if self.subscription.wildcard:
            yield from there.values()
        else:
            for name in sorted(self.subscription.names):
                if (resource := there.get(name)) is not None:
                    yield resource

    def holdings(self) -> Iterator[tuple[str, Resource | str | None, str]]:
        """For CSDS: each name, what the client was sent of it, and SYNCED, STALE, NOT_SENT or ERROR."""
        there = self.view.resources(self.type_url)
        names = set(there) if self.subscription.wildcard else set(self.subscription.names)
        names.update(name for name, known in self.pending.items() if isinstance(known, Resource | str))
        for name in sorted(names):
            known = self.known(name)
            if isinstance(known, Unknown):
                known = None
            if name in self.nacked:
                yield name, known, "ERROR"
            elif known is None:
                yield name, None, "NOT_SENT"
            elif name in self.pending or (self.flight is not None and name in self.flight.names):
                yield name, known, "STALE"
            else:
                yield name, known, "SYNCED"

    # --- requests ----------------------------------------------------------------------------------------

    def open(self, request: Request) -> None:
        """The stream's first request of this type, whatever nonce it carries (rule 14)."""
        if self.form is Form.DELTA:
            self._open_delta(request)
        else:
            self._open_sotw(request)

    def _open_sotw(self, request: Request) -> None:
        wants = self.subscription
        wants.replace(request.names)
        self.returning = bool(request.version)
        if wants.wildcard and not wants.names and request.version == self.view.version(self.type_url):
            self._total = int(request.version, 16)  # rule 22: it has everything
            return
        self.opaque = self.returning
        self.answer = self.full_state and (wants.wildcard or bool(wants.names))
        self.fresh = wants.wildcard
        if not wants.wildcard:
            self.pending.update(dict.fromkeys(wants.names, UNKNOWN))

    def _open_delta(self, request: Request) -> None:
        wants, has = self.subscription, request.versions
        wants.update(request.names, request.unsubscribe, first=True)
        self.returning = bool(has)
        self.brought = frozenset(name for name, version in has.items() if version.endswith(FETCHING))
        there = self.view.resources(self.type_url)
        if wants.wildcard:
            if has:
                for name, resource in there.items():
                    if has.get(name) != resource.version:
                        self.pending[name] = has.get(name)
            else:
                self.fresh = self.answer = True
        for name in wants.names:
            resource_ = there.get(name)
            if name not in has:
                if resource_ is None or not self.fresh:
                    self.pending[name] = UNKNOWN
            elif resource_ is None or resource_.version != has[name]:
                self.pending[name] = has[name]
        for name, version in has.items():
            if name not in there or name not in wants:
                self.pending[name] = version  # rule 41: it is told that this is gone

    def resubscribe(self, request: Request) -> None:
        """A later request's subscription, honoured whatever its nonce (rules 17, 18, 50)."""
        had_all = self.subscription.wildcard
        if self.form is Form.DELTA:
            if not request.names and not request.unsubscribe:
                return
            interest = self.subscription.update(request.names, request.unsubscribe, first=False)
        else:
            interest = self.subscription.replace(request.names)
        if interest is subscription.SAME:
            return
        for name in interest.dropped:
            if not self.subscription.wildcard:
                self._forget(name)
            elif self.form is Form.DELTA:
                self.pending[name] = UNKNOWN  # rule 47: it wants to hear whether the wildcard includes this
        if interest.narrowed:
            self._narrow()
        if interest.widened:
            self._widen()
        for name in interest.added:
            if self.form is Form.SOTW and self.subscription.wildcard:
                self.owed.add(name)  # it has this, or will have it with all the others
                continue
            if had_all or name in self.pending:
                self._count(self.known(name), None)
            self.pending[name] = UNKNOWN
        if interest.added and self.full_state:
            self.answer = True

    def _widen(self) -> None:
        """The wildcard came after names."""
        if self.form is Form.SOTW:
            self.fresh = True
            self.answer = self.full_state
            self.pending.clear()
            self.parked.clear()
            return
        for name in self.view.resources(self.type_url):
            if name not in self.subscription.names:
                self.pending.setdefault(name, None)

    def _narrow(self) -> None:
        """The wildcard went; names stay (rule 48)."""
        names = self.subscription.names
        if self.fresh:
            self.fresh = False
            self.pending = dict.fromkeys(names, UNKNOWN)
            self._total = 0
        else:
            kept = [self.known(name) for name in names]
            self.pending = {name: known for name, known in self.pending.items() if name in names}
            self._total = sum(map(weight, kept)) % MODULUS
        for record in (self.parked, self.replaced, self.rejected, self.paced):
            for name in [name for name in record if name not in names]:
                del record[name]
        for name in [name for name in self.nacked if name not in names]:
            self._acquit(name)

    def _forget(self, name: str) -> None:
        """The client gave a name up: should it come back, it is sent anew (rules 21, 46)."""
        if name in self.pending:
            self._count(self.pending.pop(name), None)
        elif not self.fresh:
            self._count(self.view.get(self.type_url, name), None)
        for record in (self.parked, self.replaced, self.rejected, self.paced):
            record.pop(name, None)
        self._acquit(name)

    # --- changes -----------------------------------------------------------------------------------------

    def change(self, name: str, old: Resource | None, new: Resource | None, now: float) -> bool:
        """The view changed; whether this concerns the client."""
        if self.fresh:
            # All of it is sent yet; only what the client holds from before has an entry.
            return False
        if name not in self.subscription:
            return False
        if name not in self.pending:
            self.pending[name] = old
        elif same(self.pending[name], new):
            self._untrack(name)
            return False
        if new is not None:
            self.parked.pop(name, None)
        if self.dirty_since is None:
            self.dirty_since = now
        return True

    # --- responses ---------------------------------------------------------------------------------------

    def sent(self, names: frozenset[str], nonce: str, now: float) -> Flight:
        """A response with `names` (added, changed and removed) goes out; what stays in `pending` waits."""
        fresh, self.fresh = self.fresh, False
        if fresh and self.form is Form.SOTW:
            self._total = int(self.view.version(self.type_url), 16)
        gone: list[str] = []
        for name in names:
            if name not in self.pending:
                continue  # part of a first complete set, or sent again unchanged
            before = self.pending.pop(name)
            self.parked.pop(name, None)
            if before is not None:
                self.replaced.setdefault(name, before)
            target = self.target(name)
            if target is None:
                gone.append(name)
            if not fresh:
                self._count(before, target)
        version = self.version if self.form is Form.SOTW else self.view.version(self.type_url)
        if not self.trials:  # else they have to wait for their end
            self.owed.clear()
        self.answer = False
        self.last_nonce = nonce
        self.flight = Flight(nonce, version, names, frozenset(gone), now, self.dirty_since)
        if not self.pending:
            self.dirty_since = None
        return self.flight

    def drop(self, name: str) -> None:
        """A pending name of which there is nothing to say to the client."""
        if not self.fresh:
            self._count(self.pending[name], None)
        self._untrack(name)
        self.paced.pop(name, None)
        self._acquit(name)

    def _untrack(self, name: str) -> None:
        """The client has it, or there is nothing to say of it."""
        del self.pending[name]
        self.parked.pop(name, None)
        if not self.pending:
            self.dirty_since = None

    def settle(self) -> Flight:
        """The client ACKed the response under way."""
        assert self.flight is not None
        flight, self.flight = self.flight, None
        if self.rejected:
            for name in list(self.rejected) if self.full_state else flight.names.intersection(self.rejected):
                del self.rejected[name]
        if self.nacked:
            for name in list(self.nacked) if self.full_state else flight.names.intersection(self.nacked):
                if name not in self.suspects or self.suspects[name] != _version(self.known(name)):
                    self._acquit(name)
        self.replaced.clear()
        self.unproven.clear()
        if self.trials:
            self.trials.pop()
        self.opaque = False
        return flight

    def divide(self, words: str) -> bool:
        """The client refused a response of which it may have taken nothing: halves it, so that the others of
        it come through and the culprit stands alone. False: there is nothing to halve.

        Envoy takes all of a response's scopes or none, and of its filter chains those before the bad one.
        What it watches one by one (tables, endpoints, filters) it takes in an order of its own until it comes
        to the bad one; and nothing of any type if a resource is not even well formed. Of clusters and
        listeners it takes what it does not complain of, if it says so.

        Envoy has half taken scopes before the culprit and would take them for known if it saw them again:
        they are sent `anew`. So it does with the bad one of secrets: all of them are held to be refused until
        they change.
        """
        assert self.flight is not None
        tried = self.flight.names - self.flight.gone
        if self.full_state or len(tried) < 2 or self._taken_in_part(words):
            return False
        if self.type_url == SECRET:
            for name in tried:
                self.nacked[name] = words
                self.suspects[name] = _version(self.known(name))
        names = sorted(name for name in tried if self.target(name) is not None)
        self._take_back_removals()
        for name in names:
            self._take_back(name)
            self.attempts[name] = self.attempts.get(name, 0) + 1
        self.replaced.clear()
        self.flight = None
        if self.trials:
            self.trials.pop()
        middle = len(names) // 2
        self.trials += [frozenset(part) for part in (names[middle:], names[:middle]) if part]
        return True

    def _taken_in_part(self, words: str) -> bool:
        return self.type_url in (CLUSTER, LISTENER) and words.startswith(_IN_PART)

    def _take_back(self, name: str) -> None:
        """It may or may not have what was sent of a name (75)."""
        before = self.replaced.pop(name, UNKNOWN)
        self._count(self.known(name), before)
        self.pending[name] = before

    def _take_back_removals(self) -> frozenset[str]:
        """Of a response that had more in it, and was refused for that; which they are. Scopes are removed
        before the others are looked at, filter chains alone."""
        assert self.flight is not None
        gone = self.flight.gone
        if self.form is not Form.DELTA or gone == self.flight.names:
            return frozenset()
        if self.type_url not in (SCOPE, CHAIN):
            for name in gone:
                if name in self.subscription:
                    self._take_back(name)
        return gone

    def abandon(self) -> None:
        """Drops parts of which nothing is left to be tried."""
        while self.trials and all(self.target(name) is None for name in self.trials[-1]):
            self.trials.pop()
        if not self.trials:
            self.attempts.clear()

    def _acquit(self, name: str) -> None:
        self.nacked.pop(name, None)
        self.suspects.pop(name, None)

    def refuse(self, blamed: frozenset[str], words: str) -> None:
        """The client NACKed it. Nothing is sent again (72); what it had before counts as used (66), what it
        was sent as possibly applied (75). `blamed` are the names that it complains of in its `words`."""
        assert self.flight is not None
        if self._taken_in_part(words):
            culprits = blamed  # the others of the response are in use [E]
        else:
            gone = self._take_back_removals()
            culprits, blamed = self.flight.names - gone, blamed - gone or self.flight.names - gone
        self.flight = None
        for name, before in self.replaced.items():
            if name in culprits:
                self.rejected.setdefault(name, before)
        self.replaced.clear()
        new = culprits.difference(self.rejected)  # what is no successor of something that goes on working
        # A listener that a client cannot have is not waited for; its users do without it.
        waited = new if self.type_url != LISTENER else frozenset[str]()
        self.unproven = [
            Unproven(left, group.since) for group in self.unproven if (left := group.names & waited)
        ]
        if self.full_state:
            self.nacked.clear()
        self.nacked.update(dict.fromkeys(blamed, words))
        if self.trials:
            self.trials.pop()

    def _count(self, before: Known, after: Known) -> None:
        """The client has `after` instead of `before`. Deltas have no version of the whole to be kept."""
        if self.form is Form.SOTW:
            self._total = (self._total + weight(after) - weight(before)) % MODULUS


def _version(known: Known) -> str:
    return known.version if isinstance(known, Resource) else ""
