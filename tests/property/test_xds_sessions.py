"""State machines: a model Envoy and a session, a wire of two queues between them, a configuration that
changes at any moment. Whatever the interleaving:

- no route or listener the client has uses a cluster that it cannot send requests to (make before break);
- once the wire is quiet the client has exactly what the view says, and the server knows it;
- the wire does become quiet (nothing is sent again and again, not after a NACK either).
"""

from __future__ import annotations

from typing import Any

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dragoman.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, Resource
from dragoman.xds.known import weight
from dragoman.xds.snapshot import View, version_of
from dragoman.xds.wire import Form
from tests.property.xds_envoy import TYPES, Envoy
from tests.unit.xds.client import cluster, endpoints, listener, route

CLUSTERS = ("a", "b", "c", "static")
ROUTES = ("r", "s")
body = st.sampled_from("12")

configurations = st.fixed_dictionaries(
    {
        "routes": st.dictionaries(
            st.sampled_from(ROUTES),
            st.tuples(st.frozensets(st.sampled_from(CLUSTERS), min_size=1, max_size=2), body),
        ),
        "tcp": st.none() | st.tuples(st.sampled_from(CLUSTERS), body),
        "web": body,
        "spare": st.frozensets(st.sampled_from(CLUSTERS), max_size=1),
        "bodies": st.fixed_dictionaries(dict.fromkeys(CLUSTERS, body)),
        "endpoints": st.fixed_dictionaries({name: st.sampled_from("123") for name in CLUSTERS}),
    }
)


def build(config: dict[str, Any]) -> list[Resource]:
    """A consistent set of resources."""
    out: list[Resource] = []
    used = set(config["spare"])
    for name, (clusters, text) in config["routes"].items():
        out.append(route(name, *sorted(clusters), body=text))
        used |= clusters
    if config["routes"]:
        out.append(listener("web", *sorted(config["routes"]), body=config["web"]))
    if config["tcp"]:
        name, text = config["tcp"]
        out.append(listener("tcp", clusters=[name], body=text))
        used.add(name)
    for name in sorted(used):
        out.append(cluster(name, config["bodies"][name], eds=name != "static"))
        if name != "static":
            out.append(endpoints(name, config["endpoints"][name]))
    return out


class Machine(RuleBasedStateMachine):
    """Common to both forms. `form` is set by the subclasses."""

    form: Form
    hitless = True

    @initialize(config=configurations)
    def begin(self, config: dict[str, Any]) -> None:
        self.known: dict[tuple[str, str], Resource] = {}
        self.view = View()
        self.put(build(config))
        self.envoy = Envoy(self.view, self.form, self.known)
        self.view.follow(lambda changes: self.changed(changes))

    def changed(self, changes: Any) -> None:
        self.envoy.session.change(changes, self.envoy.now)

    def put(self, resources: list[Resource]) -> None:
        wanted: dict[str, dict[str, Resource | None]] = {t: {} for t in TYPES}
        for type_url in TYPES:
            wanted[type_url].update(dict.fromkeys(self.view.resources(type_url)))
        for item in resources:
            self.known[item.type_url, item.version] = item
            wanted[item.type_url][item.name] = item
        self.view.apply(wanted)

    @rule(config=configurations)
    def change(self, config: dict[str, Any]) -> None:
        self.put(build(config))

    @rule(count=st.integers(1, 4))
    def server_reads(self, count: int) -> None:
        for _ in range(count):
            self.envoy.server_reads()

    @rule(count=st.integers(1, 4))
    def server_writes(self, count: int) -> None:
        for _ in range(count):
            self.envoy.server_writes()

    @rule(count=st.integers(1, 4))
    def client_reads(self, count: int) -> None:
        for _ in range(count):
            self.envoy.client_reads()
            self.check_hitless()

    @rule()
    def quiesce(self) -> None:
        """Everything on the way arrives."""
        self.settle()
        self.check_settled()

    @rule()
    def reconnect(self) -> None:
        if self.form is Form.SOTW:
            # A full set leaves no room for what only the client still knows: a change while it is away is not
            # hitless in SotW.
            self.settle()
        self.envoy.connect()
        while self.form is Form.SOTW and self.envoy.server_reads():
            pass

    def settle(self) -> None:
        envoy = self.envoy
        for _ in range(300):
            moved = envoy.server_reads()
            moved |= envoy.server_writes()
            moved |= envoy.client_reads()
            self.check_hitless()
            if not moved and envoy.session.deadline is not None:
                envoy.now = max(envoy.now, envoy.session.deadline)
                moved = True
            if not moved:
                return
        raise AssertionError("the wire never falls silent")

    def check_settled(self) -> None:
        envoy = self.envoy
        for type_url in (CLUSTER, LISTENER):
            assert envoy.has[type_url] == dict(self.view.resources(type_url))
        for type_url in (ENDPOINT, ROUTE):
            wanted = envoy.wanted(type_url)
            there = self.view.resources(type_url)
            assert envoy.has[type_url] == {n: there[n] for n in wanted if n in there}
        assert not envoy.warming
        for sub in envoy.session.streams.values():
            assert not sub.pending
            assert not sub.replaced
            assert not sub.rejected
            assert sub.flight is None
            if self.form is Form.SOTW:
                has = (sub.known(name) for name in sub.view.resources(sub.type_url))
                assert sub.version == version_of(sum(map(weight, has)))

    @invariant()
    def nothing_is_queued(self) -> None:
        if hasattr(self, "envoy"):
            for sub in self.envoy.session.streams.values():
                assert len(sub.pending) <= 8

    def check_hitless(self) -> None:
        if not self.hitless:
            return
        envoy = self.envoy
        listeners = envoy.has[LISTENER].values()
        users = [*listeners, *(envoy.has[ROUTE][n] for n in envoy.wanted(ROUTE) if n in envoy.has[ROUTE])]
        for user in users:
            for name in user.refers(CLUSTER):
                assert name in envoy.active, f"{user.name} goes to {name}, which is not there"


class SotwMachine(Machine):
    form = Form.SOTW


class DeltaMachine(Machine):
    form = Form.DELTA


class Nacking(Machine):
    """Some resources are bad: the client NACKs them and goes on with what it had."""

    hitless = False

    @rule(config=configurations, culprit=st.integers(0, 7), how=st.sampled_from(("bad", "worse")))
    def change_for_the_worse(self, config: dict[str, Any], culprit: int, how: str) -> None:
        resources = build(config)
        if resources:
            one = resources[culprit % len(resources)]
            make = {CLUSTER: cluster, ENDPOINT: endpoints}.get(one.type_url)
            if make is not None:
                bad = make(one.name, how)
            elif one.type_url == ROUTE:
                bad = route(one.name, *one.refers(CLUSTER), body=how)
            else:
                bad = listener(one.name, *one.refers(ROUTE), clusters=one.refers(CLUSTER), body=how)
            resources = [bad if item is one else item for item in resources]
        self.put(resources)

    @rule()
    def quiesce(self) -> None:
        self.settle()
        before = self.envoy.received
        for _ in range(3):
            self.envoy.now += 60
            assert not self.envoy.server_writes(), "rule 72: sent again without a change"
        assert self.envoy.received == before
        bad = any(_is_bad(item) for t in TYPES for item in self.view.resources(t).values())
        if not bad and not self.envoy.warming:
            self.check_settled()
        self.check_the_good_ones()

    def check_the_good_ones(self) -> None:
        """What is not bad itself comes through, whatever it is sent along with."""
        envoy = self.envoy
        for type_url in TYPES:
            there = self.view.resources(type_url)
            whole = self.form is Form.SOTW and type_url in (CLUSTER, LISTENER)
            if whole and any(b"worse" in item.payload for item in there.values()):
                continue  # a complete set is taken or not
            wanted = set(there) if type_url in (CLUSTER, LISTENER) else envoy.wanted(type_url)
            for name, item in there.items():
                if name in wanted and not _is_bad(item) and not self.held(item):
                    assert envoy.has[type_url].get(name) == item, f"{name} was lost"

    def held(self, item: Resource) -> bool:
        """Whether it waits for what it uses."""
        sub = self.envoy.session.streams.get(item.type_url)
        return sub is None or item.name in sub.pending


def _is_bad(item: Resource) -> bool:
    return b"bad" in item.payload or b"worse" in item.payload


class SotwNacking(Nacking):
    form = Form.SOTW


class DeltaNacking(Nacking):
    form = Form.DELTA


_settings = hypothesis.settings(max_examples=60, stateful_step_count=40, deadline=None)

TestSotw = SotwMachine.TestCase
TestSotw.settings = _settings
TestDelta = DeltaMachine.TestCase
TestDelta.settings = _settings
TestSotwNack = SotwNacking.TestCase
TestSotwNack.settings = _settings
TestDeltaNack = DeltaNacking.TestCase
TestDeltaNack.settings = _settings
