"""Which requests a route is for. Part of `ir.model`; `ir.match` applies them to a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dragoman import frozen


@dataclass(frozen=True, slots=True)
class ExactPath:
    value: str


@frozen.statically
@dataclass(frozen=True, slots=True)
class SegmentPrefix:
    """Gateway API's PathPrefix: whole segments, no trailing slash; `/` matches everything."""

    value: str


@dataclass(frozen=True, slots=True)
class StringPrefix:
    """A plain string prefix (nginx, Istio)."""

    value: str


@dataclass(frozen=True, slots=True)
class RegexPath:
    """RE2, must match the whole path without the query."""

    pattern: str


PathMatch = ExactPath | SegmentPrefix | StringPrefix | RegexPath


@frozen.statically
@dataclass(frozen=True, slots=True)
class Exact:
    value: str


@dataclass(frozen=True, slots=True)
class Regex:
    """RE2, must match the whole value."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Present:
    """The header or parameter is there, whatever its value."""


ValueMatch = Exact | Regex | Present


@frozen.statically
@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """`name` is lower case."""

    name: str
    value: ValueMatch
    invert: bool = False


@dataclass(frozen=True, slots=True)
class QueryMatch:
    name: str
    value: ValueMatch


SHARES: Final = 1_000_000
"""What all requests are in `RouteMatch.share`."""


@frozen.statically
@dataclass(frozen=True, slots=True)
class RouteMatch:
    """`grpc`: only gRPC requests. `share`: of those that meet the rest, which part: up to so many millionths
    by a number drawn once per request, so of several routes in a row each gets the difference. 0: all."""

    path: PathMatch
    method: str = ""
    headers: tuple[HeaderMatch, ...] = ()
    query: tuple[QueryMatch, ...] = ()
    grpc: bool = False
    share: int = 0
