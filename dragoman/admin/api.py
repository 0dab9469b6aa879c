"""What can be asked of a running control plane, as a table: name, meaning, function.

Each function is synchronous, reads the program's state and returns plain data; `server` puts HTTP around it.
The shapes are the ones that the command line reads and that `-o json` prints, and are kept stable under
`/api/v1`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import dragoman
from dragoman.admin import anatomy, views
from dragoman.resource import SHORT, TYPES

if TYPE_CHECKING:
    from multidict import MultiMapping

    from dragoman.graph.pipeline import Pipeline
    from dragoman.refs import Ref
    from dragoman.telemetry.metrics import Metrics
    from dragoman.xds.ledger import Ledger

PREFIX: Final = "/api/v1"


class Rollouts(Protocol):
    """What people may say about a Rollout, by `name` or `namespace/name`. Both raise LookupError for a name
    that means none, or several, and ValueError for what makes no sense now."""

    def approve(self, name: str) -> Ref: ...

    def abort(self, name: str) -> Ref: ...


class State(Protocol):
    """What the runtime shows of itself."""

    pipeline: Pipeline
    ledger: Ledger
    metrics: Metrics
    started: float
    """Unix time."""

    @property
    def rollouts(self) -> Rollouts:
        """Who carries out Rollouts."""

    def settle(self) -> None:
        """Finishes the changes that are being worked on: what is built for an answer is built of all of
        them, and nobody is handed half."""

    def not_ready(self) -> str:
        """Why proxies are not served (yet, or any more); "" when they are."""


class Refused(Exception):  # noqa: N818  (reads as what happened)
    """The question makes no sense; `status` is the HTTP status."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Query:
    """The query string of a request."""

    def __init__(self, values: MultiMapping[str]) -> None:
        self._values = values

    def one(self, name: str, default: str = "") -> str:
        return self._values.get(name, default)

    def all(self, name: str) -> list[str]:
        return list(self._values.getall(name, []))

    def flag(self, name: str) -> bool:
        return self.one(name) not in ("", "0", "false")


@dataclass(frozen=True, slots=True)
class Endpoint:
    name: str
    text: str
    answer: Callable[[State, Query], Any]


def status(state: State, _: Query) -> Mapping[str, Any]:
    return {
        "version": dragoman.__version__,
        "ready": not state.not_ready(),
        "reason": state.not_ready(),
        "uptime": round(time.time() - state.started, 3),
        "groups": sorted(state.pipeline.groups),
        "proxies": views.proxies(state.ledger),
        "objects": objects(state, _),
        "diagnostics": diagnostics(state, _),
    }


def proxies(state: State, _: Query) -> list[views.Data]:
    return views.proxies(state.ledger)


def objects(state: State, _: Query) -> list[views.Data]:
    return views.objects(state.pipeline.objects, state.pipeline.statuses())


def diagnostics(state: State, _: Query) -> list[views.Data]:
    return views.diagnostics(state.pipeline.diagnostics(), state.pipeline.locate)


def snapshot(state: State, query: Query) -> list[views.Data]:
    state.settle()
    return views.resources(
        state.pipeline.snapshot(query.one("group", "*")),
        types=types_of(query.all("type")),
        name=query.one("name"),
        bodies=query.flag("body"),
    )


def collections(state: State, _: Query) -> Mapping[str, Any]:
    graph = state.pipeline.graph
    return {
        "collections": [{"name": c.name, "size": len(c)} for c in graph.collections],
        "edges": [list(edge) for edge in graph.edges()],
    }


def explain(state: State, query: Query) -> Any:
    group = query.one("group", "*")
    state.settle()
    if query.one("url"):
        try:
            return views.explain_request(
                state.pipeline,
                group,
                query.one("method", "GET"),
                query.one("url"),
                query.all("header"),
                query.all("claim"),
            )
        except ValueError as error:
            raise Refused(str(error)) from None
    if query.one("object"):
        try:
            ref = anatomy.find(state.pipeline, query.one("object"))
        except anatomy.UnknownObject as error:
            raise Refused(str(error), 404) from None
        return anatomy.explain(state.pipeline, group, ref)
    raise Refused("`url` (with method, header, claim) or `object` (kind/namespace/name) is needed")


def rollouts(state: State, query: Query) -> list[views.Data]:
    wanted = query.one("name")
    found = [
        one for one in objects(state, query) if (one["group"], one["kind"]) == ("dragoman.dev", "Rollout")
    ]
    if not wanted:
        return found
    named = [one for one in found if wanted in (one["name"], f"{one['namespace']}/{one['name']}")]
    if not named:
        listed = ", ".join(f"{one['namespace']}/{one['name']}" for one in found) or "none"
        raise Refused(f"there is no Rollout {wanted}; there are: {listed}", 404)
    return named


def approve(state: State, query: Query) -> views.Data:
    return _said(state.rollouts.approve, query)


def abort(state: State, query: Query) -> views.Data:
    return _said(state.rollouts.abort, query)


def _said(act: Callable[[str], Ref], query: Query) -> views.Data:
    try:
        return views.identity(act(query.one("name")))
    except LookupError as error:
        raise Refused(str(error), 404) from None
    except ValueError as error:
        raise Refused(str(error), 409) from None


def types_of(names: list[str]) -> tuple[str, ...]:
    """Type URLs for `CDS`, `cds`, `cluster` or a whole URL; all of them for none. `Refused` for an unknown
    one.
    """
    if not names:
        return TYPES
    known = {SHORT[url].lower(): url for url in TYPES} | {url.lower(): url for url in TYPES}
    known |= {url.rpartition(".")[2].lower(): url for url in TYPES}
    for name in names:
        if name.lower() not in known:
            raise Refused(f"no such type: {name}; there are {', '.join(SHORT[url] for url in TYPES)}")
    return tuple(known[name.lower()] for name in names)


ENDPOINTS: Final = (
    Endpoint("status", "Everything `dragoman status` shows.", status),
    Endpoint("proxies", "Connected proxies: what each has, per type.", proxies),
    Endpoint("objects", "Objects and their status.", objects),
    Endpoint("diagnostics", "What is wrong.", diagnostics),
    Endpoint("snapshot", "Resources of a node group (?group=&type=&name=&body=1).", snapshot),
    Endpoint(
        "explain",
        "?method=&url=&header=name: value&claim=name=value, or ?object=kind/namespace/name.",
        explain,
    ),
    Endpoint("rollouts", "Rollouts and how far they are (?name=).", rollouts),
    Endpoint("collections", "The graph: collections, sizes, edges.", collections),
)

ACTIONS: Final = (
    Endpoint("rollouts/approve", "Lets a Rollout's step go on (?name=namespace/name).", approve),
    Endpoint("rollouts/abort", "Takes a Rollout's canary back (?name=namespace/name).", abort),
)
"""What is asked by POST, since it changes something."""
