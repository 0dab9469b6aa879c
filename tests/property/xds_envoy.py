"""A model of Envoy's side of an aggregated stream, with a wire of two queues between it and a `Session`.

What is modelled is what was seen of Envoy 1.40: it asks for endpoints of the clusters it has and for the
route tables of its listeners; a cluster that is new or changed warms until its endpoints come; the ACK of
a CDS response is withheld while any cluster warms, and in SotW several withheld ACKs become one; a rejected
response of clusters or listeners is applied but for what is wrong with it, one of endpoints or route tables
up to what is wrong, in any order; unknown names in EDS and RDS are dropped. `bad` in a payload is what this
Envoy does not like; of a response with `worse` in it, it takes nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from dragoman import resource
from dragoman.proto.envoy.service.discovery import v3 as discovery
from dragoman.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, Resource
from dragoman.xds.session import Session
from dragoman.xds.snapshot import View
from dragoman.xds.wire import Encoder, Form, Request
from tests.unit.xds.client import Recorded

WILD = (CLUSTER, LISTENER)
TYPES = (CLUSTER, ENDPOINT, LISTENER, ROUTE)


@dataclass
class Answered:
    """What the client keeps per type on one stream."""

    nonce: str = ""
    version: str = ""
    sent_names: set[str] | None = None


@dataclass
class Envoy:
    view: View
    form: Form
    known: dict[
        tuple[str, str], Resource
    ]  # every resource ever made, by type and version: to find its references
    now: float = 0.0
    has: dict[str, dict[str, Resource]] = field(default_factory=lambda: {t: {} for t in TYPES})
    warming: dict[str, str] = field(default_factory=dict)  # cluster -> version
    active: set[str] = field(default_factory=set)  # clusters that requests can go to
    configured: bool = False  # was ever told of clusters
    initialised: bool = False
    received: int = 0

    def __post_init__(self) -> None:
        self.accepted: dict[str, str] = {}
        self.connect()

    # the wire

    def connect(self) -> None:
        """A new stream; what was on the way is lost."""
        self.up: deque[Request] = deque()
        self.down: deque[bytes] = deque()
        self.types: dict[str, Answered] = {}
        self.withheld: list[tuple[str, str, str | None]] = []
        self.recorder = Recorded()
        self.session = Session(self.view, self.form, Encoder(), self.recorder)
        for cluster in self.warming:
            self.has[ENDPOINT].pop(cluster, None)
        # What it has subscribed to: listeners come after the first clusters, endpoints with them.
        for type_url in TYPES if self.initialised else (CLUSTER, ENDPOINT):
            self.open(type_url)

    def server_reads(self) -> bool:
        if not self.up:
            return False
        self.session.request(self.up.popleft(), self.now)
        return True

    def server_writes(self) -> bool:
        response = self.session.next_response(self.now)
        if response is None:
            return False
        self.down.append(response.data)
        return True

    def client_reads(self) -> bool:
        if not self.down:
            return False
        self.receive(self.down.popleft())
        return True

    # requests

    def wanted(self, type_url: str) -> set[str]:
        if type_url == ENDPOINT:
            return {name for c in self.has[CLUSTER].values() for name in c.refers(ENDPOINT)}
        return {name for item in self.has[LISTENER].values() for name in item.refers(ROUTE)}

    def open(self, type_url: str) -> None:
        names: set[str] = set() if type_url in WILD else self.wanted(type_url)
        if type_url not in WILD and not names:
            return
        state = self.types[type_url] = Answered(sent_names=names)
        if self.form is Form.DELTA:
            versions = {name: item.version for name, item in self.has[type_url].items()}
            self.up.append(Request(type_url, names=sorted(names), versions=versions))
        else:
            state.version = self.accepted.get(type_url, "")
            self.up.append(Request(type_url, names=sorted(names), version=state.version))

    def resubscribe(self, type_url: str) -> None:
        """Asks for what is wanted now, if that is news."""
        names = self.wanted(type_url)
        state = self.types.get(type_url)
        if state is None:
            self.open(type_url)
            return
        assert state.sent_names is not None
        if names == state.sent_names:
            return
        add, drop = names - state.sent_names, state.sent_names - names
        for name in drop:
            self.has[type_url].pop(name, None)
        state.sent_names = names
        if self.form is Form.DELTA:
            self.up.append(Request(type_url, names=sorted(add), unsubscribe=sorted(drop)))
        else:
            self.up.append(Request(type_url, names=sorted(names), version=state.version, nonce=state.nonce))

    def answer(self, type_url: str, nonce: str, version: str, error: str | None) -> None:
        state = self.types[type_url]
        if error is None:
            state.version = self.accepted[type_url] = version
        names = sorted(state.sent_names or ()) if self.form is Form.SOTW else ()
        self.up.append(Request(type_url, names=names, version=state.version, nonce=nonce, error=error))

    # responses

    def receive(self, data: bytes) -> None:
        self.received += 1
        type_url, nonce, version, items, removed = self.decode(data)
        if type_url not in self.types:
            raise AssertionError(f"{type_url} was never asked for")
        self.types[type_url].nonce = nonce
        if worse := sorted(name for name, item in items.items() if b"worse" in item.payload):
            self.answer(type_url, nonce, version, f'name: "{worse[0]}": Proto constraint validation failed')
            if type_url == CLUSTER:
                self.configured = True
                self.release()
            return
        refused = sorted(name for name, item in items.items() if b"bad" in item.payload)
        error = f"Error adding/updating {', '.join(f'{name}: bad' for name in refused)}" if refused else None
        good = {name: item for name, item in items.items() if name not in refused}
        if type_url == CLUSTER:
            self.configured = True
            self.take_clusters(good, removed, items)
            self.withheld.append((nonce, version, error))
            self.resubscribe(ENDPOINT)
            self.release()
        elif type_url == ENDPOINT:
            good, removed = self.one_by_one(items, refused, removed)
            for name, item in good.items():
                if name in (self.types[ENDPOINT].sent_names or ()):
                    self.has[ENDPOINT][name] = item
                    self.warm(name)
            for name in removed:
                self.has[ENDPOINT].pop(name, None)
                self.warm(name)
            self.answer(type_url, nonce, version, error)
            self.release()
        elif type_url == LISTENER:
            self.take_set(LISTENER, good, removed, items)
            self.answer(type_url, nonce, version, error)
            self.resubscribe(ROUTE)
        else:
            good, _ = self.one_by_one(items, refused, removed)
            for name, item in good.items():
                if name in (self.types[ROUTE].sent_names or ()):
                    self.has[ROUTE][name] = item
            self.answer(type_url, nonce, version, error)

    def one_by_one(
        self, items: dict[str, Resource], refused: list[str], removed: list[str]
    ) -> tuple[dict[str, Resource], list[str]]:
        """What is taken of resources that are watched one by one: those before the first bad one."""
        if not refused:
            return items, removed
        names = sorted(items, reverse=self.received % 2 == 0)
        first = min(names.index(name) for name in refused)
        return {name: items[name] for name in names[:first]}, []

    def take_set(
        self, type_url: str, good: dict[str, Resource], removed: list[str], items: dict[str, Resource]
    ) -> None:
        there = self.has[type_url]
        if self.form is Form.SOTW:
            removed = [name for name in there if name not in items]
        for name in removed:
            there.pop(name, None)
        there.update(good)

    def take_clusters(
        self, good: dict[str, Resource], removed: list[str], items: dict[str, Resource]
    ) -> None:
        before = dict(self.has[CLUSTER])
        self.take_set(CLUSTER, good, removed, items)
        for name in set(before) - set(self.has[CLUSTER]):
            self.active.discard(name)
            self.warming.pop(name, None)
        for name, item in good.items():
            if name in before and before[name].version == item.version:
                continue
            if item.refers(ENDPOINT):
                self.warming[name] = item.version
            else:
                self.warming.pop(name, None)
                self.active.add(name)

    def warm(self, name: str) -> None:
        for cluster in [c for c in self.warming if name in self.has[CLUSTER][c].refers(ENDPOINT)]:
            del self.warming[cluster]
            self.active.add(cluster)

    def release(self) -> None:
        """Sends the withheld answers to CDS once nothing warms, and the first time asks for listeners: also
        if the stream that told it of clusters is gone, and the answers with it."""
        if self.warming or not self.configured:
            return
        answers = self.withheld if self.form is Form.DELTA else self.withheld[-1:]
        self.withheld = []
        for nonce, version, error in answers:
            self.answer(CLUSTER, nonce, version, error)
        if not self.initialised:
            self.initialised = True
            self.open(LISTENER)

    def decode(self, data: bytes) -> tuple[str, str, str, dict[str, Resource], list[str]]:
        if self.form is Form.DELTA:
            delta = discovery.DeltaDiscoveryResponse.FromString(data)
            names = [item.name for item in delta.resources] + list(delta.removed_resources)
            assert len(names) == len(set(names)), "rule 11"
            items = {item.name: self.known[delta.type_url, item.version] for item in delta.resources}
            return delta.type_url, delta.nonce, "", items, list(delta.removed_resources)
        sotw = discovery.DiscoveryResponse.FromString(data)
        found = [self.known[sotw.type_url, resource.digest(packed.value)] for packed in sotw.resources]
        items = {item.name: item for item in found}
        assert len(items) == len(found), "rule 11"
        return sotw.type_url, sotw.nonce, sotw.version_info, items, []
