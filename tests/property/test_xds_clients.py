"""State machines: a client that is within the protocol and nothing like Envoy. It asks for names and for all
of them, gives up what it has and what it never asked for, answers late, twice, or with a nonce of long ago,
refuses what it likes, forgets, and comes back with what it had or believes it had. Whatever it does, once it
has answered everything it holds what it asks for as the view has it, and the session keeps nothing more.
"""

from __future__ import annotations

from typing import Any

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from dragoman import resource
from dragoman.proto.envoy.service.discovery import v3 as discovery
from dragoman.resource import CLUSTER, ROUTE, SECRET, Resource
from dragoman.xds.session import Session
from dragoman.xds.snapshot import View
from dragoman.xds.substream import FULL_STATE
from dragoman.xds.wire import Encoder, Form, Request
from tests.unit.xds.client import Recorded

TYPES = (CLUSTER, ROUTE, SECRET)
LEGACY = frozenset({CLUSTER})
NAMES = ("a", "b", "c", "d", "*/e")

types = st.sampled_from(TYPES)
names = st.frozensets(st.sampled_from((*NAMES, "ghost")), max_size=4)
bodies = st.dictionaries(st.sampled_from(NAMES), st.sampled_from("12"))


class Kind:
    """What the client knows of one type on one stream."""

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self.all = False
        self.explicit = False
        self.version = ""
        self.nonces: list[str] = []
        self.unanswered: list[tuple[str, str, frozenset[str]]] = []

    def __contains__(self, name: str) -> bool:
        return self.all or name in self.asked


class Machine(RuleBasedStateMachine):
    form: Form

    @initialize(content=st.fixed_dictionaries(dict.fromkeys(TYPES, bodies)))
    def begin(self, content: dict[str, dict[str, str]]) -> None:
        self.view = View()
        self.now = 0.0
        self.bad: set[tuple[str, str]] = set()
        self.has: dict[str, dict[str, str]] = {t: {} for t in TYPES}
        self.view.follow(lambda changes: self.changed(changes))
        self.connect()
        self.put(content)

    def changed(self, changes: Any) -> None:
        self.session.change(changes, self.now)

    def put(self, content: dict[str, dict[str, str]]) -> None:
        wanted: dict[str, dict[str, Resource | None]] = {}
        for type_url, named in content.items():
            new: dict[str, Resource | None] = dict.fromkeys(self.view.resources(type_url))
            for name, body in named.items():
                new[name] = resource.make(type_url, name, f"{name}:{body}".encode())
            wanted[type_url] = new
        self.view.apply(wanted)

    def connect(self) -> None:
        self.kinds: dict[str, Kind] = {}
        if not hasattr(self, "session"):
            self.recorded = Recorded()
        self.session = Session(self.view, self.form, Encoder(), self.recorded)

    # --- the view and the clock

    @rule(content=st.dictionaries(types, bodies))
    def commit(self, content: dict[str, dict[str, str]]) -> None:
        self.put(content)

    @rule(seconds=st.sampled_from((0.1, 30.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    # --- requests

    def send(self, type_url: str, **fields: Any) -> None:
        self.session.request(Request(type_url, **fields), self.now)

    @rule(type_url=types, wanted=names, wildcard=st.booleans(), stale=st.booleans())
    def ask(self, type_url: str, wanted: frozenset[str], wildcard: bool, stale: bool) -> None:
        """For names or for all, with the nonce of now or of long ago."""
        first = type_url not in self.kinds
        kind = self.kinds.setdefault(type_url, Kind())
        listed = [*sorted(wanted), *(["*"] if wildcard else [])]
        nonce = kind.nonces[0] if stale and kind.nonces else ""
        if self.form is Form.DELTA:
            kind.asked |= wanted
            if wildcard or (first and not listed and type_url in LEGACY):
                kind.all = True
            self.send(type_url, names=listed, nonce=nonce)
            return
        kind.explicit = kind.explicit or bool(listed)
        kind.asked = set(wanted)
        kind.all = wildcard or (not kind.explicit and type_url in LEGACY)
        self.drop_what_is_not_asked_for(type_url)
        self.send(type_url, names=listed, nonce=nonce, version=kind.version)

    @rule(type_url=types, unwanted=names, wildcard=st.booleans())
    def give_up(self, type_url: str, unwanted: frozenset[str], wildcard: bool) -> None:
        kind = self.kinds.get(type_url)
        if kind is None or self.form is Form.SOTW:
            return
        kind.asked -= unwanted
        if wildcard:
            kind.all = False
        self.drop_what_is_not_asked_for(type_url)
        self.send(type_url, unsubscribe=[*sorted(unwanted), *(["*"] if wildcard else [])])

    def drop_what_is_not_asked_for(self, type_url: str) -> None:
        kind = self.kinds[type_url]
        for name in [name for name in self.has[type_url] if name not in kind]:
            del self.has[type_url][name]

    @rule(type_url=types, name=st.sampled_from(NAMES))
    def forget(self, type_url: str, name: str) -> None:
        """It has lost a resource, and asks for it again."""
        kind = self.kinds.get(type_url)
        if kind is None or name not in kind.asked or self.form is Form.SOTW:
            return
        self.has[type_url].pop(name, None)
        self.send(type_url, names=[name])

    # --- responses

    @rule(count=st.integers(1, 3))
    def read(self, count: int) -> None:
        for _ in range(count):
            response = self.session.next_response(self.now)
            if response is None:
                return
            self.take(response.type_url, response.data)

    def take(self, type_url: str, data: bytes) -> None:
        kind, there = self.kinds[type_url], self.has[type_url]
        if self.form is Form.DELTA:
            delta = discovery.DeltaDiscoveryResponse.FromString(data)
            got = {item.name: item.version for item in delta.resources}
            listed = [*got, *delta.removed_resources]
            assert len(listed) == len(set(listed))
            for name in delta.removed_resources:
                there.pop(name, None)
            nonce, version = delta.nonce, ""
        else:
            sotw = discovery.DiscoveryResponse.FromString(data)
            texts = [packed.value.decode() for packed in sotw.resources]
            got = {text.partition(":")[0]: resource.digest(text.encode()) for text in texts}
            assert len(got) == len(texts)
            if type_url in FULL_STATE:
                there.clear()
            nonce, version = sotw.nonce, sotw.version_info
        there.update({name: version for name, version in got.items() if name in kind})
        assert nonce not in kind.nonces
        kind.nonces.append(nonce)
        kind.unanswered.append((nonce, version, frozenset(got)))

    def reply(self, type_url: str, nonce: str, version: str, error: str | None) -> None:
        kind = self.kinds[type_url]
        if error is None:
            kind.version = version
        listed: list[str] = []
        if self.form is Form.SOTW:
            listed = [*sorted(kind.asked), *(["*"] if kind.all and kind.explicit else [])]
        self.send(type_url, names=listed, nonce=nonce, version=kind.version, error=error)

    @rule(type_url=types, refuse=st.booleans(), twice=st.booleans())
    def answer(self, type_url: str, refuse: bool, twice: bool) -> None:
        """The oldest response: an ACK, or a NACK of what it has taken nevertheless."""
        kind = self.kinds.get(type_url)
        if kind is None or not kind.unanswered:
            return
        nonce, version, _ = kind.unanswered.pop(0)
        for _ in range(2 if twice else 1):
            self.reply(type_url, nonce, version, "no" if refuse else None)

    # --- streams

    @rule(
        truly=st.booleans(),
        lies=st.dictionaries(st.sampled_from((*NAMES, "phantom")), st.just("of another server")),
    )
    def reconnect(self, truly: bool, lies: dict[str, str]) -> None:
        """With what it has; or with what it believes to have, so that it has to be told."""
        before = self.kinds
        self.connect()
        for type_url in before:
            kind = self.kinds[type_url] = Kind()
            old = before[type_url]
            kind.asked, kind.all = set(old.asked), old.all
            listed = [*sorted(kind.asked), *(["*"] if kind.all else [])]
            if not listed:
                del self.kinds[type_url]
                self.has[type_url].clear()
                continue
            kind.explicit = True
            if self.form is Form.DELTA:
                has = self.has[type_url]
                if not truly:
                    has.clear()
                    has.update({name: lie for name, lie in lies.items() if name in kind})
                self.send(type_url, names=listed, versions=dict(has))
            else:
                # With names only a version says nothing: it is what the client had of all it asked for.
                kind.version = old.version if truly else "of another server"
                self.send(type_url, names=listed, version=kind.version)

    @rule()
    def settle(self) -> None:
        """Everything is read and accepted; then it has what it asks for."""
        for _ in range(100):
            response = self.session.next_response(self.now)
            if response is not None:
                self.take(response.type_url, response.data)
                continue
            waiting = [(t, kind) for t, kind in self.kinds.items() if kind.unanswered]
            if not waiting:
                if self.session.deadline is None:
                    break
                self.now = max(self.now, self.session.deadline)
            for type_url, kind in waiting:
                nonce, version, _ = kind.unanswered.pop()  # the last: one answer for all
                kind.unanswered.clear()
                self.reply(type_url, nonce, version, None)
        else:
            raise AssertionError("it is never silent")
        for type_url, kind in self.kinds.items():
            self.check(type_url, kind)

    def check(self, type_url: str, kind: Kind) -> None:
        sub = self.session.streams[type_url]
        assert sub.subscription.names == kind.asked
        assert sub.subscription.wildcard == kind.all
        there = {n: item.version for n, item in self.view.resources(type_url).items() if n in kind}
        has = self.has[type_url]
        if self.form is Form.SOTW and type_url not in FULL_STATE:
            has = {name: version for name, version in has.items() if name in there}  # rule 27
        assert has == there
        for record in ("pending", "replaced", "owed", "parked", "trials"):
            assert not getattr(sub, record), record
        assert sub.flight is None
        assert not sub.dirty


class SotwMachine(Machine):
    form = Form.SOTW


class DeltaMachine(Machine):
    form = Form.DELTA


_settings = hypothesis.settings(max_examples=80, stateful_step_count=40, deadline=None)

TestSotw = SotwMachine.TestCase
TestSotw.settings = _settings
TestDelta = DeltaMachine.TestCase
TestDelta.settings = _settings
