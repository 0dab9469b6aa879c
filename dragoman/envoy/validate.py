"""Asks the real Envoy whether it would take a snapshot: `validate --envoy`, and tests.

Envoy's `--mode validate` builds everything that static configuration names (listeners, routes, clusters,
certificates) and stops at the first thing that it refuses, often without saying which. So the snapshot
goes in as one static bootstrap (`static.py`), and if that is refused, its pieces are halved until each
culprit stands alone: ten runs of 0.1 s for one among a thousand. What Envoy prints of the configuration
itself is left out: it may hold keys.
"""

from __future__ import annotations

import itertools
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dragoman import proto, resource
from dragoman.diagnostics import Diagnostic, Severity
from dragoman.envoy import connection_manager, naming, process, static, trees
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.bootstrap import v3 as bootstrap_proto
from dragoman.proto.envoy.config.listener import v3 as listener_proto
from dragoman.proto.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from dragoman.proto.envoy.extensions.transport_sockets.tls import v3 as tls

_MOST_FINDINGS: Final = 20
_TIMEOUT: Final = 120.0
_REASON: Final = re.compile(r"error initializing configuration '[^']*': (.*)", re.DOTALL)
_CONSTRAINT: Final = "Proto constraint validation failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What Envoy refuses, in its own words. `route` is set where one route of a table is the culprit.

    `name` is empty where only several things together are refused.
    """

    type_url: str
    name: str
    detail: str
    route: str = ""


@dataclass(frozen=True, slots=True)
class _Piece:
    """The smallest thing that can be refused by itself; `part` counts filter chains, or hosts of a table."""

    type_url: str
    name: str
    part: int = 0
    route: int = -1


Check = Callable[[Sequence[_Piece]], str | None]


def snapshot(resources: Iterable[resource.Resource], binary: Path | None = None) -> tuple[Diagnostic, ...]:
    """What Envoy refuses, as diagnostics of the objects behind it.

    Raises process.EnvoyNotFoundError (a FileNotFoundError) where there is no Envoy to ask.
    """
    return tuple(map(_diagnostic, check(resources, binary)))


def check(resources: Iterable[resource.Resource], binary: Path | None = None) -> list[Finding]:
    """What Envoy refuses, at most 20 findings; empty: it takes all. Same errors as `snapshot`."""
    program = binary or process.find()
    resources = tuple(resources)
    whole = static.bootstrap(resources)
    refusal = _ask(program, whole)
    if refusal is None:
        return []
    extensions = {one.name: one.payload for one in resources if one.type_url == resource.EXTENSION}
    take = _Taker(program, whole, static.filters(extensions))
    found: list[Finding] = []
    for pieces in (take.secrets(), take.clusters(), take.chains(), take.routes()):
        known = {finding.detail for finding in found if finding.type_url == resource.SECRET}
        for piece, detail in _culprits(pieces, take):
            if detail in known:
                continue  # refused for a certificate that it uses, and that has been named
            found.append(take.finding(piece, detail))
            if len(found) == _MOST_FINDINGS:
                return found
    return found or [Finding("", "", refusal)]


def _culprits(pieces: Sequence[_Piece], refuses: Check) -> Iterator[tuple[_Piece, str]]:
    """The pieces that are refused alone, by halving."""
    detail = refuses(pieces) if pieces else None
    if detail is None:
        return
    if len(pieces) == 1:
        yield pieces[0], detail
        return
    middle = len(pieces) // 2
    yield from _culprits(pieces[:middle], refuses)
    yield from _culprits(pieces[middle:], refuses)


class _Taker:
    """Takes a bootstrap apart, and asks about some of its pieces."""

    def __init__(self, program: Path, whole: bootstrap_proto.Bootstrap, filters: static.Filters) -> None:
        self._program = program
        self._extensions = whole.bootstrap_extensions
        self._filters = filters
        static_resources = whole.static_resources
        self._secrets = {each.name: each for each in static_resources.secrets}
        self._clusters = {each.name: each for each in static_resources.clusters}
        self._listeners = {each.name: each for each in static_resources.listeners}
        self._tables = {
            table.name: table
            for manager in _managers(static_resources.listeners)
            for table in static.tables(manager)
        }
        for table in self._tables.values():
            for host in table.virtual_hosts:
                if host.HasField("matcher"):
                    host.routes.extend(trees.routes_of(host))
                    host.ClearField("matcher")

    def secrets(self) -> list[_Piece]:
        return [_Piece(resource.SECRET, name) for name in self._secrets]

    def clusters(self) -> list[_Piece]:
        return [_Piece(resource.CLUSTER, name) for name in self._clusters]

    def chains(self) -> list[_Piece]:
        return [
            _Piece(resource.LISTENER, name, part)
            for name, listener in self._listeners.items()
            for part in range(len(listener.filter_chains))
        ]

    def routes(self) -> list[_Piece]:
        return [
            _Piece(resource.ROUTE, name, part, route)
            for name, table in self._tables.items()
            for part, host in enumerate(table.virtual_hosts)
            for route in range(-1, len(host.routes))
        ]

    def __call__(self, pieces: Sequence[_Piece]) -> str | None:
        """Envoy's words if it refuses `pieces` (all of one type), else None."""
        message = bootstrap_proto.Bootstrap(bootstrap_extensions=self._extensions)
        message.static_resources.secrets.extend(self._secrets.values())
        match pieces[0].type_url:
            case resource.SECRET:
                self._some_secrets(message, pieces)
            case resource.CLUSTER:
                message.static_resources.clusters.extend(self._clusters[piece.name] for piece in pieces)
            case resource.LISTENER:
                self._some_chains(message, pieces)
            case _:
                self._some_routes(message, pieces)
        return _ask(self._program, message)

    def finding(self, piece: _Piece, detail: str) -> Finding:
        if piece.type_url != resource.ROUTE:
            return Finding(piece.type_url, piece.name, detail)
        host = self._tables[piece.name].virtual_hosts[piece.part]
        if piece.route < 0:
            return Finding(piece.type_url, piece.name, f"host {host.name}: {detail}")
        return Finding(piece.type_url, piece.name, detail, host.routes[piece.route].name)

    def _some_secrets(self, message: bootstrap_proto.Bootstrap, pieces: Sequence[_Piece]) -> None:
        """Secrets in use by clusters made up for them: Envoy reads no secret that nobody uses."""
        for piece in pieces:
            context = tls.UpstreamTlsContext()
            common = context.common_tls_context
            if self._secrets[piece.name].HasField("validation_context"):
                common.validation_context_sds_secret_config.name = piece.name
            else:
                common.tls_certificate_sds_secret_configs.add().name = piece.name
            cluster = message.static_resources.clusters.add(name=piece.name)
            cluster.transport_socket.name = "envoy.transport_sockets.tls"
            cluster.transport_socket.typed_config.CopyFrom(proto.pack_any(context))

    def _some_chains(self, message: bootstrap_proto.Bootstrap, pieces: Sequence[_Piece]) -> None:
        """Chains with empty route tables."""
        for name, group in itertools.groupby(pieces, key=lambda piece: piece.name):
            target = message.static_resources.listeners.add()
            target.CopyFrom(self._listeners[name])
            del target.filter_chains[:]
            for piece in group:
                target.filter_chains.add().CopyFrom(self._listeners[name].filter_chains[piece.part])
            for manager, write in _opened([target]):
                if manager.HasField("scoped_routes"):
                    manager.ClearField("scoped_routes")
                manager.route_config.ClearField("virtual_hosts")
                write()

    def _some_routes(self, message: bootstrap_proto.Bootstrap, pieces: Sequence[_Piece]) -> None:
        """Routes behind plain listeners made up for them, one per table."""
        for name, group in itertools.groupby(pieces, key=lambda piece: piece.name):
            table = self._tables[name]
            manager = hcm.HttpConnectionManager.FromString(
                connection_manager.encode("validate", name, ir.DEFAULT_CLIENTS.http)
            )
            static.resolve(manager, self._filters)
            manager.route_config.CopyFrom(table)
            manager.route_config.ClearField("virtual_hosts")
            for part, routes in itertools.groupby(group, key=lambda piece: piece.part):
                host = manager.route_config.virtual_hosts.add()
                host.CopyFrom(table.virtual_hosts[part])
                del host.routes[:]
                for piece in routes:
                    if piece.route >= 0:
                        host.routes.add().CopyFrom(table.virtual_hosts[part].routes[piece.route])
            target = message.static_resources.listeners.add(name=name)
            target.address.pipe.path = f"/validate/{len(message.static_resources.listeners)}"
            network = target.filter_chains.add().filters.add(
                name="envoy.filters.network.http_connection_manager"
            )
            network.typed_config.CopyFrom(proto.pack_any(manager))


def _managers(found: Iterable[listener_proto.Listener]) -> Iterator[hcm.HttpConnectionManager]:
    return (manager for manager, _ in _opened(found))


def _opened(
    found: Iterable[listener_proto.Listener],
) -> Iterator[tuple[hcm.HttpConnectionManager, Callable[[], None]]]:
    """Every connection manager, and what writes a changed one back."""
    for listener in found:
        for chain in listener.filter_chains:
            for network in chain.filters:
                if network.typed_config.type_url == proto.type_url(hcm.HttpConnectionManager):
                    manager = hcm.HttpConnectionManager.FromString(network.typed_config.value)

                    def write(
                        network: listener_proto.Filter = network, manager: proto.Message = manager
                    ) -> None:
                        network.typed_config.value = proto.serialize(manager)

                    yield manager, write


def _ask(program: Path, message: bootstrap_proto.Bootstrap) -> str | None:
    """One run of Envoy: None if it accepts, else why not."""
    with tempfile.TemporaryDirectory(prefix="dragoman-validate-") as folder:  # mode 0700: keys are inside
        config = Path(folder) / "envoy.pb"
        config.write_bytes(proto.serialize(message))
        command = [str(program), "--mode", "validate", "--config-path", str(config), "--disable-hot-restart"]
        command += ["--concurrency", "1", "--log-level", "critical", "--log-format", "%v"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            return f"no answer within {_TIMEOUT:g} s"
    return None if done.returncode == 0 else _reason(done.stderr)


def _reason(words: str) -> str:
    """The reason in what Envoy prints, without the configuration that it prints along with it."""
    found = _REASON.search(words)
    text = (found[1] if found else words).strip()
    if _CONSTRAINT in text:
        text = text[text.rindex(_CONSTRAINT) :]
        _, _, innermost = text.rpartition("caused by ")
        return (innermost or text).removesuffix("\n").rstrip(")")
    if text.startswith("goo.gle/"):
        text = text.splitlines()[-1]
    return text or "Envoy refused the configuration without a word"


def _diagnostic(finding: Finding) -> Diagnostic:
    if finding.route:
        what, ref = f"route {finding.route}", naming.route_ref(finding.route)
    elif finding.name:
        what = f"{resource.SHORT[finding.type_url]} {finding.name}"
        ref = next(iter(naming.refs_of(finding.type_url, finding.name)), None)
    else:
        what, ref = "the configuration as a whole", None
    path = ("spec",) if ref is not None else ()
    return Diagnostic("DRG4001", f"Envoy refuses {what}: {finding.detail}", ref, path, Severity.ERROR)
