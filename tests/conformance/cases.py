"""Reads `cases.json`: which cases concern this issue, and what each expects, in one shape.

The suite's code holds an expectation as a literal or a list of literals, for a Gateway and then, in some
tests, once more for a mesh. Only the former are kept; the mesh's begin with the first that names the mesh's
namespace. Defaults are the suite's: method GET, answer 200, and a backend that sees the request as it was
sent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(os.environ.get("DRAGOMAN_CONFORMANCE", "/work/shared/conformance"))
"""Where the data stands; it is not part of this repository."""

_MESH = "gateway-conformance-mesh"

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Expectation:
    """A request, and what must come of it. Names as in the suite's `ExpectedResponse`."""

    request: Mapping[str, Any]
    statuses: tuple[int, ...]
    backend: str = ""
    namespace: str = ""
    seen: Mapping[str, Any] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()
    response: Mapping[str, Any] = field(default_factory=dict)
    redirect: Mapping[str, Any] | None = None
    mirrors: tuple[Mapping[str, Any], ...] = ()
    title: str = ""

    def __str__(self) -> str:
        request = self.request
        headers = " ".join(f"{k}={v}" for k, v in (request.get("Headers") or {}).items())
        method, host, path = request.get("Method", "GET"), request.get("Host", "*"), request.get("Path", "/")
        return f"{method} {host}{path} {headers}".rstrip()


@dataclass(frozen=True, slots=True)
class Case:
    """One test of the suite."""

    name: str
    description: str
    features: frozenset[str]
    manifests: tuple[str, ...]
    provisional: bool
    expected: tuple[tuple[Expectation, ...], ...]
    literals: tuple[Body, ...]
    """As they stand in the file, for what is no HTTP request (gRPC, TCP, UDP)."""

    def flat(self) -> tuple[Expectation, ...]:
        return tuple(item for group in self.expected for item in group)


def load() -> list[Case]:
    """Every case of the file, of this issue or not."""
    data = json.loads((FOLDER / "cases.json").read_text())
    return [
        Case(
            item["name"],
            item["description"],
            frozenset(item["features"]),
            tuple(item["manifests"]),
            item["provisional"],
            tuple(_groups(item["expected"])),
            tuple(each for one in item["expected"] for each in (one if isinstance(one, list) else [one])),
        )
        for item in data
    ]


def _groups(expected: list[Any]) -> Iterator[tuple[Expectation, ...]]:
    for literal in expected:
        group = literal if isinstance(literal, list) else [literal]
        if any(item.get("Namespace") == _MESH for item in group):
            return
        yield tuple(_expectation(item) for item in group)


def _expectation(item: Mapping[str, Any]) -> Expectation:
    response = item.get("Response", {})
    statuses = tuple(response.get("StatusCodes") or [response.get("StatusCode", 200)])
    expected = item.get("ExpectedRequest")
    seen = item.get("Request", {}) if expected is None else expected.get("Request", {})
    return Expectation(
        request=item.get("Request", {}),
        statuses=statuses,
        backend=item.get("Backend", ""),
        namespace=item.get("Namespace", ""),
        seen=seen,
        unseen=tuple((expected or {}).get("AbsentHeaders", ())),
        response=response,
        redirect=item.get("RedirectRequest"),
        mirrors=tuple(item.get("MirroredTo", ())),
        title=item.get("TestCaseName", ""),
    )


def manifest(name: str) -> list[Body]:
    """The objects of a manifest file, with the suite's placeholders filled in."""
    text = (FOLDER / "manifests" / name).read_text()
    text = text.replace("{GATEWAY_CLASS_NAME}", "dragoman")
    text = text.replace("{GATEWAY_CONTROLLER_NAME}", "dragoman.dev/gateway-controller")
    return [body for body in yaml.safe_load_all(text) if body]
