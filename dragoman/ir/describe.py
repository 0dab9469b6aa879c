"""Matches and precedence in words, as `explain`, `difference` and the console show them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, assert_never

from dragoman.ir import model as ir
from dragoman.ir.order import EXACT, PREFIX, REGEX, Order

_KINDS: Final = {EXACT: "an exact path", REGEX: "a regular expression", PREFIX: "a prefix"}


def path(wanted: ir.PathMatch) -> str:
    """What a path must be, in words."""
    match wanted:
        case ir.ExactPath(value):
            return f"exactly `{value}`"
        case ir.SegmentPrefix(value):
            return f"prefix `{value}`"
        case ir.StringPrefix(value):
            return f"string prefix `{value}`"
        case ir.RegexPath(pattern):
            return f"regex `{pattern}`"
        case _:
            assert_never(wanted)


def value(wanted: ir.ValueMatch) -> str:
    """What a header or parameter must be, in words."""
    match wanted:
        case ir.Exact(text):
            return f"`{text}`"
        case ir.Regex(pattern):
            return f"regex `{pattern}`"
        case ir.Present():
            return "any value"
        case _:
            assert_never(wanted)


def header(wanted: ir.HeaderMatch) -> str:
    """What a header must be, or must not."""
    return f"not {value(wanted.value)}" if wanted.invert else value(wanted.value)


def conditions(wanted: ir.RouteMatch) -> str:
    """A whole match on one line: `GET prefix /cart, header x-env `canary``."""
    parts = [f"{'gRPC' if wanted.grpc else wanted.method} {path(wanted.path)}".strip()]
    parts.extend(f"header `{each.name}` {header(each)}" for each in wanted.headers)
    parts.extend(f"query `{each.name}` {value(each.value)}" for each in wanted.query)
    if wanted.share:
        parts.append(f"up to {wanted.share * 100 / ir.SHARES:.3g}% of them")
    return ", ".join(parts)


def claims(wanted: Iterable[ir.Claim]) -> str:
    """What a token must say, all of it: `tier gold or platinum and region eu`."""
    return " and ".join(f"{'.'.join(one.path)} {' or '.join(one.values)}" for one in wanted)


def precedence(winner: ir.Route, loser: ir.Route) -> str:
    """Which rule of precedence (HTTPRouteRule.matches) put `winner` before `loser`, in words."""
    first, second = winner.order, loser.order
    return f"{winner.name} comes first: {_difference(first, second)}"


def _difference(first: Order, second: Order) -> str:
    if first.priority != second.priority:
        return f"its priority is higher ({-first.priority} against {-second.priority})"
    if first.path_kind != second.path_kind:
        kinds = _KINDS.get(first.path_kind, "its path"), _KINDS.get(second.path_kind, "this path")
        return f"{kinds[0]} goes before {kinds[1]}"
    if first.path_length != second.path_length:
        return f"its path is longer ({-first.path_length} characters against {-second.path_length})"
    if first.method != second.method:
        return "it asks for a method, or a longer one"
    if first.headers != second.headers:
        return f"it asks for more headers ({-first.headers} against {-second.headers})"
    if first.query != second.query:
        return f"it asks for more query parameters ({-first.query} against {-second.query})"
    if first.created != second.created:
        return "its object is older"
    if first.object != second.object:
        return "its object's name comes first"
    if first.rule != second.rule:
        return f"its rule stands first (rule {first.rule} against {second.rule})"
    if first.share != second.share:
        return "it gets the first share of the rule's requests"
    return f"its match stands first (match {first.match} against {second.match})"
