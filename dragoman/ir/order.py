"""Precedence of routes (Gateway API v1.6, HTTPRouteRule.matches), as one sortable key per route.

Exact path, then regular expression, then prefix by length, then method, then the number of header matches,
then of query matches, then the oldest object, then its name, then the position in it. The specification
leaves regular expressions to the implementation; they stand between exact and prefix, as in Envoy Gateway
and Istio. An explicit priority (annotation `dragoman.dev/priority`, higher first) comes before all of it:
other languages need orders of their own.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Order(NamedTuple):
    """Sorts ascending: the smallest is tried first. Fields that prefer "more" are negated."""

    priority: int = 0
    path_kind: int = 0
    path_length: int = 0
    method: int = 0
    headers: int = 0
    query: int = 0
    created: str = ""
    object: str = ""
    rule: int = 0
    match: int = 0
    share: int = 0


EXACT, REGEX, PREFIX = 0, 1, 2
LAST: Final = Order(priority=2**62)
"""Behind everything that a route object says."""


def order(
    *,
    path_kind: int,
    path_length: int,
    has_method: bool = False,
    headers: int = 0,
    query: int = 0,
    created: str = "",
    object_id: str = "",
    rule: int = 0,
    match: int = 0,
    priority: int = 0,
) -> Order:
    """The key of one match. `created` is an RFC 3339 time in UTC; unknown sorts after all known ones."""
    return Order(
        -priority,
        path_kind,
        -path_length,
        0 if has_method else 1,
        -headers,
        -query,
        created or "~",
        object_id,
        rule,
        match,
    )
