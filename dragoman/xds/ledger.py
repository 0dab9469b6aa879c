"""Who is connected, what it was sent, and what it said to that.

The server opens an entry per stream; the session writes to it (`session.Recorder`). Read by CSDS, `dragoman
status`, the admin API and the metrics. A NACK is reported at once: in the log, with Envoy's own words, and to
whoever watches `rejections`, so that the runtime can put it into the status of the objects behind it, and
quarantine them some day.
"""

from __future__ import annotations

import enum
import itertools
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from dragoman.resource import LISTENER, SHORT
from dragoman.xds.session import Session
from dragoman.xds.types import Node, Peer, Rejection
from dragoman.xds.wire import Form

log: Final = logging.getLogger(__name__)


class Status(enum.StrEnum):
    """Of one type at one proxy, as CSDS defines it."""

    SYNCED = "SYNCED"
    STALE = "STALE"
    NOT_SENT = "NOT_SENT"
    ERROR = "ERROR"


@dataclass(slots=True)
class TypeState:
    """One type on one stream. Times are Unix seconds, 0.0 for never. Versions: SotW's version_info, in delta
    the hash of the whole type at the time of sending."""

    type_url: str
    names: int = 0
    wildcard: bool = False
    nonce_sent: str = ""
    nonce_acked: str = ""
    version_sent: str = ""
    version_acked: str = ""
    sent_at: float = 0.0
    acked_at: float = 0.0
    error: str = ""
    error_at: float = 0.0
    error_version: str = ""
    error_names: tuple[str, ...] = ()
    responses: int = 0
    acks: int = 0
    nacks: int = 0
    stale_answers: int = 0
    bytes_sent: int = 0
    waits: str = ""
    """Why the newest content is not sent, where that can last."""

    @property
    def status(self) -> Status:
        """ERROR while something of it is refused; STALE while one is awaited, or cannot be sent yet."""
        if self.error:
            return Status.ERROR
        if self.waits:
            return Status.STALE
        if not self.nonce_sent:
            return Status.NOT_SENT
        return Status.SYNCED if self.nonce_acked == self.nonce_sent else Status.STALE


@dataclass(frozen=True, slots=True)
class Proxy:
    """A connected stream at one moment. `service`: `ADS`, or the single type's short name."""

    stream: int
    node: Node
    group: str
    peer: Peer
    form: Form
    service: str
    connected_at: float
    types: Mapping[str, TypeState] = field(default_factory=dict)

    @property
    def status(self) -> Status:
        """The worst of its types: ERROR, STALE, NOT_SENT, SYNCED."""
        seen = {state.status for state in self.types.values()}
        for status in (Status.ERROR, Status.STALE):
            if status in seen:
                return status
        return Status.SYNCED if Status.SYNCED in seen else Status.NOT_SENT


class Observer(Protocol):
    """Counts what happens; the runtime's metrics. `kind` is `CDS`, `EDS`, `LDS`, `RDS`, `SDS`."""

    def streams(self, kind: str, group: str, change: int) -> None:
        """A stream more (+1) or less (-1) that asks for this type."""

    def pushed(self, kind: str, group: str, size: int) -> None:
        """A response of `size` bytes was handed to gRPC."""

    def ack(self, kind: str, group: str) -> None: ...

    def nack(self, kind: str, group: str) -> None: ...

    def converged(self, kind: str, group: str, seconds: float) -> None:
        """A change reached one proxy: from `View.apply` to its ACK."""


class Stream:
    """The ledger's side of one stream; a `session.Recorder`."""

    __slots__ = (
        "_ledger",
        "connected_at",
        "form",
        "group",
        "id",
        "node",
        "peer",
        "service",
        "session",
        "types",
    )

    def __init__(
        self, ledger: Ledger, id: int, node: Node, peer: Peer, group: str, form: Form, service: str
    ) -> None:
        self._ledger = ledger
        self.id = id
        self.node = node
        self.peer = peer
        self.group = group
        self.form = form
        self.service = service
        self.connected_at = ledger.clock()
        self.session: Session | None = None
        self.types: dict[str, TypeState] = {}

    def proxy(self) -> Proxy:
        types = {url: replace(state) for url, state in self.types.items()}
        if self.session is not None and (silent := self.session.silent):
            types[LISTENER].waits = _silent(silent)
        return Proxy(
            self.id, self.node, self.group, self.peer, self.form, self.service, self.connected_at, types
        )

    def subscribed(self, type_url: str, names: int, wildcard: bool) -> None:
        state = self.types.get(type_url)
        if state is None:
            state = self.types[type_url] = TypeState(type_url)
            self._ledger.count("streams", type_url, self.group, 1)
        state.names = names
        state.wildcard = wildcard

    def sent(self, type_url: str, nonce: str, version: str, resources: int, size: int) -> None:
        state = self.types[type_url]
        state.nonce_sent = nonce
        state.version_sent = version
        state.sent_at = self._ledger.clock()
        state.responses += 1
        state.bytes_sent += size
        self._ledger.count("pushed", type_url, self.group, size)

    def acked(self, type_url: str, nonce: str, version: str, seconds: float | None) -> None:
        state = self.types[type_url]
        state.nonce_acked = nonce
        state.version_acked = version
        state.acked_at = self._ledger.clock()
        state.acks += 1
        self._ledger.count("ack", type_url, self.group)
        if seconds is not None:
            self._ledger.count("converged", type_url, self.group, seconds)

    def nacked(self, type_url: str, nonce: str, version: str, refused: Mapping[str, str]) -> None:
        state = self.types[type_url]
        state.error_at = self._ledger.clock()
        state.error_version = version
        state.nacks += 1
        self._ledger.count("nack", type_url, self.group)
        _warn(self._refuses(state, refused))

    def healed(self, type_url: str, refused: Mapping[str, str]) -> None:
        state = self.types[type_url]
        if refused:
            self._refuses(state, refused)
            return
        state.error, state.error_names, state.error_version = "", (), ""
        self._ledger.recovered(self, type_url)

    def _refuses(self, state: TypeState, refused: Mapping[str, str]) -> Rejection:
        words = dict(sorted(refused.items()))
        state.error_names = tuple(words)
        state.error = "; ".join(dict.fromkeys(words.values()))
        rejection = Rejection(
            self.node.id,
            self.group,
            state.type_url,
            state.error_names,
            state.error,
            state.error_version,
            state.error_at,
            words,
        )
        self._ledger.rejected(rejection)
        return rejection

    def stale(self, type_url: str) -> None:
        self.types[type_url].stale_answers += 1

    def silent(self, names: tuple[str, ...]) -> None:
        log.warning(
            "DRG4104 %s keeps what it had: %s",
            self.node.id,
            _silent(names),
            extra={"fields": {"node": self.node.id, "group": self.group, "type": SHORT[LISTENER]}},
        )

    def close(self) -> None:
        """The stream has ended."""
        self._ledger.close(self)


def _warn(rejection: Rejection) -> None:
    kind = SHORT.get(rejection.type_url, rejection.type_url)
    log.warning(
        "DRG4101 %s refused %s %s and keeps what it had; restarted it would fail to load this: %s",
        rejection.node,
        kind,
        _few(rejection.names),
        rejection.detail,
        extra={"fields": {"node": rejection.node, "group": rejection.group, "type": kind}},
    )


def _silent(names: tuple[str, ...]) -> str:
    return (
        f"{_few(names)} not sent: the proxy came back with listeners whose filter chains it has fetched, and"
        " does not say which chains it has"
    )


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


class Ledger:
    """All streams of the process. `observer` may be set at any time; `clock` gives Unix seconds."""

    def __init__(self, observer: Observer | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self.observer = observer
        self.clock = clock
        self._streams: dict[int, Stream] = {}
        self._ids = itertools.count(1)
        self._on_rejection: list[Callable[[Rejection], None]] = []
        self._on_recovery: list[Callable[[str, str], None]] = []

    def open(self, node: Node, peer: Peer, group: str, form: Form, service: str) -> Stream:
        """An entry for a stream whose node was let in. Two streams with one node id are two entries (rule
        8)."""
        stream = Stream(self, next(self._ids), node, peer, group, form, service)
        self._streams[stream.id] = stream
        return stream

    def close(self, stream: Stream) -> None:
        """Takes a stream out; what it refused is no longer held against anybody."""
        if self._streams.pop(stream.id, None) is None:
            return
        for type_url, state in stream.types.items():
            self.count("streams", type_url, stream.group, -1)
            if state.error:
                self.recovered(stream, type_url)

    def proxies(self) -> list[Proxy]:
        """Every connected stream, by node id, then by age."""
        return sorted(
            (stream.proxy() for stream in self._streams.values()),
            key=lambda proxy: (proxy.node.id, proxy.stream),
        )

    def streams(self) -> list[Stream]:
        """The live entries, for CSDS; not to be kept."""
        return list(self._streams.values())

    def on_rejection(self, watcher: Callable[[Rejection], None]) -> None:
        """Calls `watcher` for each NACK, as it comes, and when part of what was refused no longer is."""
        self._on_rejection.append(watcher)

    def on_recovery(self, watcher: Callable[[str, str], None]) -> None:
        """Calls `watcher(node id, type URL)` when a proxy that had refused a type accepts it, or is gone."""
        self._on_recovery.append(watcher)

    def rejected(self, rejection: Rejection) -> None:
        """A NACK came in, or less is refused than before it."""
        for watcher in self._on_rejection:
            watcher(rejection)

    def recovered(self, stream: Stream, type_url: str) -> None:
        """A type is no longer refused, unless another stream of the same node refuses it still."""
        for other in self._streams.values():
            state = other.types.get(type_url) if other.node.id == stream.node.id else None
            if other is not stream and state is not None and state.error:
                return
        for watcher in self._on_recovery:
            watcher(stream.node.id, type_url)

    def count(self, event: str, type_url: str, group: str, *values: float) -> None:
        """Tells the observer, if there is one."""
        if self.observer is not None:
            getattr(self.observer, event)(SHORT.get(type_url, type_url), group, *values)
