"""One stream's protocol, without I/O: requests and changes go in, responses come out.

The server's reader calls `request`, the view calls `change`, and the server's writer asks `next_response`
until there is none; `deadline` says when to ask again although nothing happened. One core serves aggregated
and single-type streams in both forms. Per type at most one response is under way (rule 79); a type's state is
a `Substream`, what may be sent is the `planner`'s decision, and the bytes are the shared `wire.Encoder`'s.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from dragoman.resource import CHAIN, CLUSTER, ENDPOINT, EXTENSION, LISTENER, NO_NAMES, SCOPE, SERVED, Resource
from dragoman.xds import planner
from dragoman.xds.known import Unproven
from dragoman.xds.substream import Substream
from dragoman.xds.types import ResourceView, Transitions
from dragoman.xds.wire import Body, Encoder, Form, Request

PATIENCE: Final = 20.0
"""Seconds until a response without an answer, or a warming cluster, no longer holds up anything (rules 61,
64, 80)."""


class ProtocolError(Exception):
    """The client broke the protocol; the stream ends with this gRPC status code's name."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Recorder(Protocol):
    """Who keeps account of a stream: `ledger.Stream`. Times are the session's clock's."""

    def subscribed(self, type_url: str, names: int, wildcard: bool) -> None: ...

    def sent(self, type_url: str, nonce: str, version: str, resources: int, size: int) -> None: ...

    def acked(self, type_url: str, nonce: str, version: str, seconds: float | None) -> None:
        """`seconds`: from the oldest change in it to now; None for what a subscription asked for."""

    def nacked(self, type_url: str, nonce: str, version: str, refused: Mapping[str, str]) -> None:
        """`refused`: all of the type that is by now, and the client's words about each."""

    def healed(self, type_url: str, refused: Mapping[str, str]) -> None:
        """Less is refused than before: what still is."""

    def stale(self, type_url: str) -> None:
        """An answer to a response that is not the latest."""

    def silent(self, names: tuple[str, ...]) -> None:
        """Listeners wait for long because the client does not say which filter chains it has (`silent`)."""


@dataclass(frozen=True, slots=True)
class Response:
    """One message to write."""

    type_url: str
    nonce: str
    data: bytes = field(repr=False)


class Session:
    """State of one stream. `only` is the type of a single-type service, None for the aggregated one.

    `served` are the type URLs that are answered, in the order in which a change is sent; requests for others
    are held in silence (rule 6).
    """

    def __init__(
        self,
        view: ResourceView,
        form: Form,
        encoder: Encoder,
        recorder: Recorder,
        *,
        only: str | None = None,
        served: Collection[str] = SERVED,
        patience: float = PATIENCE,
    ) -> None:
        self.streams: dict[str, Substream] = {}
        self.deadline: float | None = None
        self._view = view
        self._form = form
        self._encoder = encoder
        self._recorder = recorder
        self._only = only
        self._order = [only] if only else list(served)
        self._asked: list[Substream] = []  # in that order
        self._patience = patience
        self._nonce = 0
        self._opened = float("inf")
        self._complained = False  # of a silent client
        self._owed: set[str] = set()  # endpoints of clusters sent before the client asked for any

    @property
    def settled(self) -> bool:
        """Whether the client has asked for something, and answered everything that it was sent."""
        return bool(self.streams) and all(sub.flight is None for sub in self.streams.values())

    @property
    def silent(self) -> tuple[str, ...]:
        """Listeners that wait because the client came back with them and has not said which filter chains it
        has. They wait as long as it takes: without them it goes on as it is, with them it might crash."""
        return planner.silent(self.streams)

    # --- in ----------------------------------------------------------------------------------------------

    def request(self, request: Request, now: float) -> bool:
        """A request of the client. Returns whether there is reason to look for a response. Raises
        `ProtocolError`."""
        self._opened = min(self._opened, now)
        type_url = request.type_url
        if self._only is None:
            if not type_url:
                raise ProtocolError("INVALID_ARGUMENT", "type_url is required on the aggregated service")
        elif type_url not in ("", self._only):
            raise ProtocolError("INVALID_ARGUMENT", f"this service serves {self._only}, not {type_url}")
        else:
            type_url = self._only
        sub = self.streams.get(type_url)
        if sub is None:
            if type_url not in self._order:
                return False
            sub = self.streams[type_url] = Substream(type_url, self._form, self._view)
            self._asked = [self.streams[each] for each in self._order if each in self.streams]
            sub.open(request)
            if type_url == ENDPOINT:
                sub.owed, self._owed = self._owed & sub.subscription.names, set()
        else:
            refused = len(sub.nacked)
            sub.resubscribe(request)  # first the subscription, then the answer (51)
            if not self._answer(sub, request, now) and len(sub.nacked) < refused:
                self._recorder.healed(type_url, sub.nacked)
        self._recorder.subscribed(type_url, len(sub.subscription.names), sub.subscription.wildcard)
        return any(sub.dirty for sub in self._asked)

    def _answer(self, sub: Substream, request: Request, now: float) -> bool:
        """ACK, NACK (71: error_detail and nothing else makes one), or neither (17, 18, 52). Returns whether
        a refusal came of it."""
        if not request.nonce:
            return False
        if sub.flight is None or request.nonce != sub.flight.nonce:
            if request.nonce != sub.last_nonce:  # a repeated ACK is not stale
                self._recorder.stale(sub.type_url)
            return False
        if request.error is None:
            flight = sub.settle()
            seconds = None if flight.published is None else max(0.0, now - flight.published)
            self._recorder.acked(sub.type_url, flight.nonce, flight.version, seconds)
            return False
        flight = sub.flight
        if not sub.divide(request.error):
            sub.refuse(blamed(flight.names, request.error), request.error)
        elif not sub.suspects:
            return False
        self._recorder.nacked(sub.type_url, flight.nonce, flight.version, sub.nacked)
        return True

    def change(self, changes: Transitions, now: float) -> bool:
        """The view changed. Returns whether the stream has reason to look for a response."""
        concerned = False
        for type_url, named in changes.items():
            sub = self.streams.get(type_url)
            if sub is None:
                continue
            for name, (old, new) in named.items():
                concerned |= sub.change(name, old, new, now)
        return concerned

    # --- out ---------------------------------------------------------------------------------------------

    def next_response(self, now: float) -> Response | None:
        """The next message to write, or None; then `deadline` is the time at which to ask again at the
        latest."""
        again = True
        while again:
            # What is dropped without a word may have been the last user of something that goes.
            again = False
            self.deadline = None
            for sub in self._asked:
                if not sub.dirty:
                    continue
                if sub.flight is not None and now < sub.flight.sent_at + self._patience:
                    self._wake_at(sub.flight.sent_at + self._patience)
                    continue
                expecting = self._only is None and now < self._opened + self._patience
                plan = planner.plan(sub, self.streams, now, self._patience, expecting=expecting)
                if plan.mute:
                    self._mute(sub, plan.mute)
                    again = True
                body = self._body(sub, plan)
                if body is not None:
                    return self._send(sub, plan, body, now)
                if not sub.trials:
                    sub.owed.clear()
                if plan.wake is not None:
                    self._wake_at(plan.wake)
        if not self._complained and (silent := self.silent):
            if now < self._opened + self._patience:
                self._wake_at(self._opened + self._patience)
            else:
                self._complained = True
                self._recorder.silent(silent)
        return None

    def _mute(self, sub: Substream, names: Iterable[str]) -> None:
        refused = len(sub.nacked)
        for name in names:
            sub.drop(name)
        if len(sub.nacked) < refused:
            self._recorder.healed(sub.type_url, sub.nacked)

    def _wake_at(self, moment: float) -> None:
        if self.deadline is None or moment < self.deadline:
            self.deadline = moment

    def _body(self, sub: Substream, plan: planner.Plan) -> Body | None:
        if not (plan.whole or plan.upserts or plan.removals or (sub.answer and not sub.fresh)):
            return None
        if sub.full_state:
            return self._complete(sub, plan)
        if plan.whole and not plan.removals and not sub.subscription.names:
            version = self._view.version(sub.type_url)
            return self._encoder.whole(self._form, sub.type_url, version, sub.wanted)
        resources = tuple(sub.wanted()) if plan.whole else tuple(plan.upserts.values())
        return self._encoder.some(self._form, sub.type_url, resources, tuple(sorted(plan.removals)))

    def _complete(self, sub: Substream, plan: planner.Plan) -> Body:
        """A state-of-the-world response of a type whose every response is the complete set (rules 25, 26)."""
        waiting = plan.held | plan.parked
        version = sub.version_after(plan.upserts, plan.removals)
        body = self._encoder.whole(self._form, sub.type_url, version, lambda: _with_waiting(sub, waiting))
        changed = body.names if plan.whole else frozenset((*plan.upserts, *plan.removals))
        return Body(body.parts, changed)

    def _send(self, sub: Substream, plan: planner.Plan, body: Body, now: float) -> Response:
        self._nonce += 1
        nonce = str(self._nonce)
        if sub.type_url in (CLUSTER, LISTENER) and self._only is None:
            self._warm(sub, plan, body, now)
        if sub.type_url in (LISTENER, EXTENSION, CHAIN):
            self._show_scopes(sub, plan)
        flight = sub.sent(body.names, nonce, now)
        sub.paced.update((name, now) for name, item in plan.upserts.items() if item.spare)
        for name in plan.removals:
            sub.paced.pop(name, None)
        data = body.finish(flight.version, nonce)
        self._recorder.sent(sub.type_url, nonce, flight.version, len(body.names), len(data))
        return Response(sub.type_url, nonce, data)

    def _warm(self, sub: Substream, plan: planner.Plan, body: Body, now: float) -> None:
        """Clusters go out: their users wait for the ACK (61), their endpoints follow at once (60). Or
        listeners, of which inner ones have users."""
        upserts: Iterable[Resource]
        if sub.unproven:
            sub.unproven = [group for group in sub.unproven if now < group.since + self._patience]
        if plan.whole:
            upserts = sub.wanted()
            sub.unproven.append(Unproven(body.names, now))
        else:
            upserts = plan.upserts.values()
            if (group := planner.unproven(sub, upserts, now)) is not None:
                sub.unproven.append(group)
        if sub.type_url == LISTENER:
            return
        endpoints = self.streams.get(ENDPOINT)
        if endpoints is not None:
            for cluster in upserts:
                endpoints.owed.update(cluster.refers(ENDPOINT))
        elif not plan.whole and now < self._opened + self._patience:
            # Who comes back with what it had asks for endpoints presently, and would get none of these.
            for cluster in upserts:
                self._owed.update(cluster.refers(ENDPOINT))
        else:
            self._owed.clear()

    def _show_scopes(self, sub: Substream, plan: planner.Plan) -> None:
        """Listeners or connection managers go out that begin to look in scopes: these follow once more.
        Envoy watches scopes for all who look in them, under the wildcard, and does not say when it ends that
        or begins anew: what came in between is lost on it. Those of listeners that wait for that watch too
        (`planner`)."""
        scopes = self.streams.get(SCOPE)
        if scopes is None:
            return
        waiting = (item for name in plan.held if (item := sub.target(name)) is not None)
        for item in sub.wanted() if plan.whole else (*plan.upserts.values(), *waiting):
            names = item.refers(SCOPE)
            if names and item.name in sub.pending:  # else the client has it
                before = sub.pending[item.name]
                had = before.refers(SCOPE) if isinstance(before, Resource) else NO_NAMES
                scopes.owed.update(name for name in names if name not in had)


def _with_waiting(sub: Substream, waiting: set[str]) -> Iterator[Resource]:
    """All that the client should have, but of what waits what it has."""
    for resource in sub.wanted():
        if resource.name not in waiting:
            yield resource
    for name in sorted(waiting):
        known = sub.pending[name]
        if isinstance(known, Resource):
            yield known


_NAME: Final = r"[\w./:*~@|+-]"


def blamed(names: frozenset[str], detail: str) -> frozenset[str]:
    """Those of a rejected response's names that the client's message mentions; all of them if it mentions
    none."""
    found = {
        name
        for name in names
        if name in detail and re.search(rf"(?<!{_NAME}){re.escape(name)}(?![\w/*~@|+-]|[.:]\w)", detail)
    }
    return frozenset(found) or names
