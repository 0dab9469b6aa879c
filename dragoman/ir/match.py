"""Which route a request takes, and why the others lost: Envoy's routing, in plain Python.

`Matcher` finds the listener, filter chain, virtual host and route exactly as Envoy does with what `envoy/`
encodes from the same IR. It is pure; the regular expression compiler (RE2, as in Envoy) is handed in. Called
by `explain` and `difference`; `tests/envoy/test_explain_agrees.py` compares it with the real Envoy.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, assert_never

from dragoman.ir import describe, model as ir, paths, request as requests
from dragoman.ir.request import Prepared, Request


class Pattern(Protocol):
    """A compiled regular expression."""

    def fullmatch(self, text: str) -> object | None: ...
    def finditer(self, text: str) -> Iterator[Any]: ...


Compile = Callable[[str], Pattern]
"""Compiles an RE2 expression: `re2.compile`."""


class Outcome(enum.Enum):
    """How far a request came."""

    ROUTED = "routed"
    REFUSED = "refused"  # answered by the connection manager: bad path, redirect to a plain one
    NO_LISTENER = "no listener"  # connection refused
    NO_CHAIN = "no filter chain"  # connection closed: no certificate for the name, or no TLS there at all
    NO_HOST = "no virtual host"  # 404
    NO_ROUTE = "no route"  # 404
    STREAM = "passed on"  # nobody looks into the connection
    MISDIRECTED = "misdirected"  # 421: the connection belongs to another listener's host name


@dataclass(frozen=True, slots=True)
class Failure:
    """The first condition that a request did not meet. `found` None: the header or parameter is not there."""

    condition: str  # path, method, header, query, share
    name: str
    wanted: str
    found: str | None

    def __str__(self) -> str:
        subject = f"{self.condition} `{self.name}`" if self.name else self.condition
        if self.found is None:
            return f"{subject} is missing, wanted {self.wanted}"
        return f"{subject} is `{self.found}`, wanted {self.wanted}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One route of the virtual host. `failure` None and `beaten` empty: the winner. `beaten` says by which
    rule of precedence an earlier route that matched as well came first."""

    route: ir.Route
    failure: Failure | None = None
    beaten: str = ""

    @property
    def reason(self) -> str:
        """Why it lost; empty for the winner."""
        return str(self.failure) if self.failure is not None else self.beaten


@dataclass(frozen=True, slots=True)
class Match:
    """A request's way. What was not reached is None or empty; `status` is Envoy's own answer, if it gives
    one without a route. `passed` are less specific virtual hosts that would have covered the host as well.
    """

    request: Request
    prepared: Prepared
    outcome: Outcome
    status: int | None = None
    bind: ir.Bind | None = None
    chain: ir.FilterChain | None = None
    host: ir.VirtualHost | None = None
    passed: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    winner: ir.Route | None = None
    notes: tuple[str, ...] = ()


class Matcher:
    """Answers requests against one node group's listeners and virtual hosts.

    Costs per request: the labels of its host name, and the routes of one virtual host; where only the winner
    is wanted, those routes that its path can take.
    """

    def __init__(
        self,
        listeners: Mapping[ir.Bind, ir.Listener],
        hosts: Mapping[ir.Scope, Mapping[str, ir.VirtualHost]],
        compile: Compile,
    ) -> None:
        self._listeners = listeners
        self._hosts = hosts
        self._compile = compile
        self._compiled: dict[str, Pattern] = {}
        self._indices: dict[tuple[ir.Scope, str], paths.Index] = {}

    def match(self, request: Request, *, thorough: bool = True) -> Match:
        """The way of `request`. Not `thorough`: the winner is the only candidate."""
        prepared = requests.prepare(request)
        taken: list[str] = []
        listener = self._listener(request, prepared, taken)
        chain = _chain(listener, request) if listener is not None else None
        if chain is not None:
            prepared = requests.prepare(request, chain.client.http)
        notes = [*prepared.notes, *taken]

        def end(outcome: Outcome, status: int | None = None, **reached: Any) -> Match:
            return Match(request, prepared, outcome, status, notes=tuple(notes), **reached)

        if listener is None:
            return end(Outcome.NO_LISTENER)
        if chain is None:
            notes.append(_why_no_chain(listener, request))
            return end(Outcome.NO_CHAIN, bind=listener.bind)
        reached: dict[str, Any] = {"bind": listener.bind, "chain": chain}
        if chain.stream is not None:
            if chain.client.closed:
                notes.append(f"connections are closed: {chain.client.closed}")
            return end(Outcome.STREAM, **reached)
        if prepared.reply is not None:
            notes.append(prepared.reply.reason)
            return end(Outcome.REFUSED, prepared.reply.status, **reached)
        table = self._hosts.get(chain.scope, {})
        covering = [table[name] for name in domains(prepared.host) if name in table]
        if not covering:
            return end(Outcome.NO_HOST, 404, **reached)
        host = covering[0]
        reached |= {"host": host, "passed": tuple(other.domain for other in covering[1:])}
        if host.misdirected and not host.routes:
            return end(Outcome.MISDIRECTED, 421, **reached)
        found = self._candidates if thorough else self._winner
        candidates, winner = found(host, request, prepared)
        reached |= {"candidates": candidates, "winner": winner}
        return end(Outcome.NO_ROUTE, 404, **reached) if winner is None else end(Outcome.ROUTED, **reached)

    def failure(self, match: ir.RouteMatch, request: Request, prepared: Prepared) -> Failure | None:
        """The first condition of `match` that does not hold; None if all do."""
        path = prepared.path
        if not self._path(match.path, path):
            return Failure("path", "", describe.path(match.path), path)
        if match.grpc and not _is_grpc(prepared):
            found = ",".join(prepared.headers.get("content-type", ())) or None
            return Failure("header", "content-type", "`application/grpc`", found)
        if match.method and match.method != request.method:
            return Failure("method", "", match.method, request.method)
        for header in match.headers:
            values = prepared.headers.get(header.name, ())
            if not self._header(header, values):
                found = ", ".join(values) if values else None
                return Failure("header", header.name, describe.header(header), found)
        for query in match.query:
            value = prepared.parameter(query.name)
            if value is None or not self._value(query.value, value):
                return Failure("query", query.name, describe.value(query.value), value)
        if match.share and request.lot >= match.share:
            wanted = f"a lot below {match.share} of {ir.SHARES}"
            return Failure("share", "", wanted, str(request.lot))
        return None

    def _candidates(
        self, host: ir.VirtualHost, request: Request, prepared: Prepared
    ) -> tuple[tuple[Candidate, ...], ir.Route | None]:
        found: list[Candidate] = []
        winner: ir.Route | None = None
        for route in host.routes:
            failure = self.failure(route.match, request, prepared)
            if failure is None and winner is not None:
                found.append(Candidate(route, beaten=describe.precedence(winner, route)))
                continue
            found.append(Candidate(route, failure))
            if failure is None:
                winner = route
        return tuple(found), winner

    def _winner(
        self, host: ir.VirtualHost, request: Request, prepared: Prepared
    ) -> tuple[tuple[Candidate, ...], ir.Route | None]:
        key = (host.scope, host.domain)
        index = self._indices.get(key)
        if index is None:
            index = self._indices[key] = paths.Index(host.routes)
        for position in index.candidates(prepared.path):
            route = host.routes[position]
            if self.failure(route.match, request, prepared) is None:
                return (Candidate(route),), route
        return (), None

    def _listener(self, request: Request, prepared: Prepared, notes: list[str]) -> ir.Listener | None:
        """The listener that the request reaches. Without a port: its scheme's, else one that has the host."""
        there = [
            item
            for bind, item in sorted(self._listeners.items())
            if request.address in ("", bind.address)
            and request.port in (0, bind.port)
            and bind.udp is request.udp
        ]
        fitting = [item for item in there if _speaks_tls(item) is (request.scheme == "https")]
        fitting.sort(key=lambda item: all(chain.stream is not None for chain in item.chains))
        if not fitting:
            if there and request.port:
                return there[0]
            where = f"{request.scheme} on {request.address or 'any address'}"
            where += f", port {request.port}" if request.port else ""
            binds = ", ".join(f"{bind.address}:{bind.port}" for bind in sorted(self._listeners)) or "none"
            notes.append(f"no listener for {where}; there are: {binds}")
            return None
        known = requests.WELL_KNOWN.get(request.scheme)
        chosen = next((item for item in fitting if item.bind.port == known), None)
        chosen = chosen or next((item for item in fitting if self._has(item, request, prepared)), fitting[0])
        if len(fitting) > 1:
            others = ", ".join(f"{i.bind.address}:{i.bind.port}" for i in fitting if i is not chosen)
            notes.append(f"taken to {chosen.bind.address}:{chosen.bind.port}; {others} would do as well")
        return chosen

    def _has(self, listener: ir.Listener, request: Request, prepared: Prepared) -> bool:
        chain = _chain(listener, request)
        table = self._hosts.get(chain.scope, {}) if chain is not None else {}
        return any(table[name].routes for name in domains(prepared.host) if name in table)

    def _path(self, wanted: ir.PathMatch, path: str) -> bool:
        match wanted:
            case ir.ExactPath(value):
                return path == value
            case ir.SegmentPrefix(value):
                stem = value.rstrip("/")
                return path.startswith(f"{stem}/") or path == stem
            case ir.StringPrefix(value):
                return path.startswith(value)
            case ir.RegexPath(pattern):
                return self._regex(pattern, path)
            case _:
                assert_never(wanted)

    def _header(self, wanted: ir.HeaderMatch, values: tuple[str, ...]) -> bool:
        if isinstance(wanted.value, ir.Present):
            return bool(values) is not wanted.invert
        if not values:
            # Inverted, a missing header counts as an empty one; else it never matches.
            return wanted.invert and not self._value(wanted.value, "")
        return any(self._value(wanted.value, value) for value in values) is not wanted.invert

    def _value(self, wanted: ir.ValueMatch, value: str) -> bool:
        match wanted:
            case ir.Exact(text):
                return value == text
            case ir.Regex(pattern):
                return self._regex(pattern, value)
            case ir.Present():
                return True
            case _:
                assert_never(wanted)

    def _regex(self, pattern: str, text: str) -> bool:
        compiled = self._compiled.get(pattern)
        if compiled is None:
            compiled = self._compiled[pattern] = self._compile(pattern)
        return compiled.fullmatch(text) is not None


def domains(host: str) -> Iterator[str]:
    """The domains under which `host` (lower case, no port) may stand, the most specific first."""
    yield host
    at = host.find(".", 1)
    while at >= 0:
        yield f"*{host[at:]}"
        at = host.find(".", at + 1)
    yield "*"


def _is_grpc(prepared: Prepared) -> bool:
    """As Envoy tells it: by the content type, with any suffix."""
    kind = ",".join(prepared.headers.get("content-type", ()))
    return kind == "application/grpc" or kind.startswith("application/grpc+")


def _by_name(chain: ir.FilterChain) -> bool:
    """Whether connections are chosen by their TLS server name."""
    return chain.tls is not None or (chain.stream is not None and chain.stream.passthrough)


def _speaks_tls(listener: ir.Listener) -> bool:
    return any(map(_by_name, listener.chains))


def _chain(listener: ir.Listener, request: Request) -> ir.FilterChain | None:
    tls = request.scheme == "https"
    chains = {chain.hostname: chain for chain in listener.chains if _by_name(chain) is tls}
    name = request.server_name
    for domain in domains(name) if name else ():
        if domain in chains:
            return chains[domain]
    return chains.get("")


def _why_no_chain(listener: ir.Listener, request: Request) -> str:
    if not _speaks_tls(listener):
        return f"port {listener.bind.port} speaks plain HTTP: the TLS handshake fails"
    if request.scheme != "https":
        return f"port {listener.bind.port} speaks TLS only: a plain request is cut off"
    names = ", ".join(chain.hostname for chain in listener.chains)
    return f"no certificate for server name `{request.server_name}`; there are: {names}"
