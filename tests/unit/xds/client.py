"""A model xDS client around a `Session`: decodes what the session writes with protobuf, not with our own
framing, and does with it what Envoy does. Used by the rule tests and by the state machines of tests/property.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dragoman import resource
from dragoman.proto.envoy.service.discovery import v3 as discovery
from dragoman.resource import CLUSTER, ENDPOINT, EXTENSION, LISTENER, ROUTE, SCOPE, SECRET, Resource
from dragoman.xds.session import PATIENCE, Recorder, Session
from dragoman.xds.snapshot import View
from dragoman.xds.wire import Encoder, Form, Request

C, E, L, R, S, X, P = CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, EXTENSION, SCOPE


def cluster(name: str, body: str = "1", *, eds: bool = True) -> Resource:
    return resource.make(CLUSTER, name, f"{name}:{body}".encode(), {ENDPOINT: [name]} if eds else {})


def endpoints(name: str, body: str = "1") -> Resource:
    return resource.make(ENDPOINT, name, f"{name}:{body}".encode())


def listener(name: str, *routes: str, clusters: Iterable[str] = (), body: str = "1") -> Resource:
    text = f"{name}:{body} {routes} {tuple(clusters)}"
    return resource.make(LISTENER, name, text.encode(), {ROUTE: routes, CLUSTER: clusters})


def route(name: str, *clusters: str, body: str = "1") -> Resource:
    return resource.make(ROUTE, name, f"{name}:{body} {clusters}".encode(), {CLUSTER: clusters})


def scope(name: str, *clusters: str, body: str = "1", spare: bool = False) -> Resource:
    made = resource.make(SCOPE, name, f"{name}:{body} {clusters}".encode(), {CLUSTER: clusters})
    return replace(made, again=b"+", spare=spare)


def secret(name: str, body: str = "1") -> Resource:
    return resource.make(SECRET, name, f"{name}:{body}".encode(), sensitive=True)


def extension(name: str, body: str = "1") -> Resource:
    return resource.make(X, name, body.encode())


def changes(*put: Resource, gone: Iterable[tuple[str, str]] = ()) -> dict[str, dict[str, Resource | None]]:
    """A change for `View.apply`."""
    out: dict[str, dict[str, Resource | None]] = {}
    for item in put:
        out.setdefault(item.type_url, {})[item.name] = item
    for type_url, name in gone:
        out.setdefault(type_url, {})[name] = None
    return out


@dataclass
class Message:
    """A decoded response. `bodies`: name -> payload text. SotW resources have no name on the
    wire: test payloads begin with it."""

    type_url: str
    nonce: str
    version: str
    bodies: dict[str, str]
    versions: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        return set(self.bodies)

    @property
    def kind(self) -> str:
        return resource.SHORT[self.type_url]


@dataclass
class Recorded:
    """What the session told its recorder."""

    acks: list[tuple[str, str]] = field(default_factory=list)
    nacks: list[tuple[str, tuple[str, ...], str]] = field(default_factory=list)
    heals: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    stales: list[str] = field(default_factory=list)
    silences: list[tuple[str, ...]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def subscribed(self, type_url: str, names: int, wildcard: bool) -> None: ...

    def sent(self, type_url: str, nonce: str, version: str, resources: int, size: int) -> None: ...

    def acked(self, type_url: str, nonce: str, version: str, seconds: float | None) -> None:
        self.acks.append((type_url, nonce))
        if seconds is not None:
            self.seconds.append(seconds)

    def nacked(self, type_url: str, nonce: str, version: str, refused: Mapping[str, str]) -> None:
        words = "; ".join(dict.fromkeys(refused[name] for name in sorted(refused)))
        self.nacks.append((type_url, tuple(sorted(refused)), words))

    def healed(self, type_url: str, refused: Mapping[str, str]) -> None:
        self.heals.append((type_url, tuple(sorted(refused))))

    def stale(self, type_url: str) -> None:
        self.stales.append(type_url)

    def silent(self, names: tuple[str, ...]) -> None:
        self.silences.append(names)


class Client:
    """Drives a session by hand. `now` is the test's clock; nothing happens unless a method is called."""

    def __init__(
        self,
        view: View,
        form: Form,
        *,
        only: str | None = None,
        encoder: Encoder | None = None,
        patience: float = PATIENCE,
        recorder: Recorder | None = None,
    ) -> None:
        self.view = view
        self.form = form
        self.now = 100.0
        self.recorded = Recorded()
        self.session = Session(
            view, form, encoder or Encoder(), recorder or self.recorded, only=only, patience=patience
        )
        self._leave = view.follow(lambda transitions: void(self.session.change(transitions, self.now)))
        self.last: dict[str, Message] = {}
        self.accepted: dict[str, str] = {}  # SotW: type -> version of the last ACK
        self.asked: dict[str, list[str]] = {}  # SotW: the names of the last request
        self.has: dict[str, dict[str, str]] = {}  # type -> name -> version

    # requests

    def send(self, type_url: str, **fields: Any) -> None:
        """A request as it is."""
        self.session.request(Request(type_url, **fields), self.now)

    def ask(
        self,
        type_url: str,
        *names: str,
        drop: Iterable[str] = (),
        has: Mapping[str, str] | None = None,
        version: str = "",
        nonce: str | None = None,
    ) -> list[Message]:
        """Subscribes; in SotW the names are all that is wanted, in delta those to add. Returns what comes."""
        if self.form is Form.DELTA:
            self.send(
                type_url, names=names, unsubscribe=tuple(drop), versions=dict(has or {}), nonce=nonce or ""
            )
        else:
            self.asked[type_url] = list(names)
            if nonce is None:
                nonce = self.last[type_url].nonce if type_url in self.last else ""
            self.send(type_url, names=names, version=version or self.accepted.get(type_url, ""), nonce=nonce)
        return self.take()

    def ack(self, type_url: str, message: Message | None = None) -> list[Message]:
        """ACKs the last response (or `message`). Returns what comes."""
        self.answer(type_url, message, None)
        return self.take()

    def nack(self, type_url: str, detail: str = "no", message: Message | None = None) -> list[Message]:
        self.answer(type_url, message, detail)
        return self.take()

    def answer(self, type_url: str, message: Message | None, error: str | None) -> None:
        message = message or self.last[type_url]
        if self.form is Form.DELTA:
            self.send(type_url, nonce=message.nonce, error=error)
            return
        if error is None:
            self.accepted[type_url] = message.version
        self.send(
            type_url,
            names=self.asked.get(type_url, ()),
            version=self.accepted.get(type_url, ""),
            nonce=message.nonce,
            error=error,
        )

    # responses

    def take(self) -> list[Message]:
        """All the session has to write now, applied to `has`."""
        out: list[Message] = []
        while (response := self.session.next_response(self.now)) is not None:
            message = self.decode(response.data)
            assert message.nonce == response.nonce
            assert message.type_url == response.type_url
            self.last[message.type_url] = message
            self.apply(message)
            out.append(message)
            assert len(out) < 50, "the session never falls silent"
        return out

    def decode(self, data: bytes) -> Message:
        if self.form is Form.DELTA:
            delta = discovery.DeltaDiscoveryResponse.FromString(data)
            names = [item.name for item in delta.resources] + list(delta.removed_resources)
            assert len(names) == len(set(names)), "rule 11: a name twice"
            for item in delta.resources:
                assert item.resource.type_url == delta.type_url, "rule 10"
            return Message(
                delta.type_url,
                delta.nonce,
                delta.system_version_info,
                {item.name: item.resource.value.decode() for item in delta.resources},
                {item.name: item.version for item in delta.resources},
                list(delta.removed_resources),
            )
        sotw = discovery.DiscoveryResponse.FromString(data)
        bodies: dict[str, str] = {}
        versions: dict[str, str] = {}
        for packed in sotw.resources:
            assert packed.type_url == sotw.type_url, "rule 10"
            name = self.named(sotw.type_url, packed.value)
            assert name not in bodies, "rule 11: a name twice"
            bodies[name] = packed.value.decode()
            versions[name] = resource.digest(packed.value)
        return Message(sotw.type_url, sotw.nonce, sotw.version_info, bodies, versions)

    def named(self, type_url: str, payload: bytes) -> str:
        """Test payloads of SotW clients begin with their name and a colon."""
        return payload.decode().partition(":")[0]

    def apply(self, message: Message) -> None:
        there = self.has.setdefault(message.type_url, {})
        if self.form is Form.SOTW and message.type_url in (CLUSTER, LISTENER, SCOPE):
            there.clear()
        for name in message.removed:
            there.pop(name, None)
        there.update(message.versions)

    def update(self, *put: Resource, gone: Iterable[tuple[str, str]] = ()) -> list[Message]:
        """Changes the view. Returns what comes."""
        self.view.apply(changes(*put, gone=gone))
        return self.take()

    def wait(self, seconds: float) -> list[Message]:
        """Time passes."""
        self.now += seconds
        return self.take()


def void(_: object) -> None:
    """A lambda that returns nothing."""
