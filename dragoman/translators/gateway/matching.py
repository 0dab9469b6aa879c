"""Matches of a rule -> IR matches, with the specification's normalisations.

Regular expressions are RE2, Envoy's dialect, and must match whole values. A match with a bad one is left out.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Final

import re2

from dragoman.diagnostics import Diagnostic, error
from dragoman.ir import model as ir, order
from dragoman.refs import Origin
from dragoman.translators.gateway import identical
from dragoman.translators.gateway.models import grpcroute, httproute as model

Header = model.HeaderMatch | grpcroute.HeaderMatch

_ROOT: Final = ir.SegmentPrefix("/")
_KINDS: Final = {
    ir.ExactPath: order.EXACT,
    ir.RegexPath: order.REGEX,
    ir.SegmentPrefix: order.PREFIX,
    ir.StringPrefix: order.PREFIX,
}
_PROGRAM: Final = 100
"""Instructions. Envoy refuses larger RE2 programs unless its runtime key
`re2.max_program_size.error_level` is raised; and it refuses the whole route table with them.
"""
_known: Final[identical.Translations[ir.RouteMatch]] = identical.Translations()


def translate(match: model.Match, rule: Origin, at: int) -> ir.RouteMatch | Diagnostic:
    """The match number `at` of a rule, or the reason why there is none."""
    known = _known.of(match)
    if known is not None:
        return known
    made = _translate(match, rule, at)
    return made if isinstance(made, Diagnostic) else _known.keep(match, made)


def _translate(match: model.Match, rule: Origin, at: int) -> ir.RouteMatch | Diagnostic:
    path = match.path
    if path.type == "PathPrefix":
        trimmed = path.value.rstrip("/")
        meant: ir.PathMatch = ir.SegmentPrefix(trimmed) if trimmed else _ROOT
    elif path.type == "Exact":
        meant = ir.ExactPath(path.value)
    else:
        flaw = flaw_of(path.value)
        if flaw:
            return bad(path.value, flaw, rule.at("matches", at, "path", "value"))
        meant = ir.RegexPath(path.value)
    if not match.headers and not match.query_params:
        return ir.RouteMatch(meant, match.method or "")
    wanted = headers(match.headers, rule.at("matches", at, "headers"))
    if isinstance(wanted, Diagnostic):
        return wanted
    query: dict[str, ir.QueryMatch] = {}
    for index, parameter in enumerate(match.query_params):
        value = _value(parameter)
        if isinstance(value, str):
            return bad(parameter.value, value, rule.at("matches", at, "queryParams", index, "value"))
        query.setdefault(parameter.name, ir.QueryMatch(parameter.name, value))
    return ir.RouteMatch(meant, match.method or "", wanted, tuple(query.values()))


def headers(given: Iterable[Header], origin: Origin) -> tuple[ir.HeaderMatch, ...] | Diagnostic:
    """The first of several entries for one header (whatever its case) counts, as for parameters."""
    found: dict[str, ir.HeaderMatch] = {}
    for index, header in enumerate(given):
        value = _value(header)
        if isinstance(value, str):
            return bad(header.value, value, origin.at(index, "value"))
        name = header.name.lower()
        found.setdefault(name, ir.HeaderMatch(name, value))
    return tuple(found.values())


def precedence(
    match: ir.RouteMatch, created: str, object_id: str, rule: int, index: int, priority: int
) -> order.Order:
    """Where a match stands among all of its host name (HTTPRouteRule.matches)."""
    path = match.path
    return order.order(
        path_kind=_KINDS[type(path)],
        path_length=len(path.pattern if isinstance(path, ir.RegexPath) else path.value),
        has_method=bool(match.method),
        headers=len(match.headers),
        query=len(match.query),
        created=created,
        object_id=object_id,
        rule=rule,
        match=index,
        priority=priority,
    )


@functools.lru_cache(maxsize=4096)
def flaw_of(pattern: str) -> str:
    """Why Envoy would refuse a regular expression; "" if it would not."""
    if not pattern:
        return "it is empty"
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as failure:
        said = failure.args[0] if failure.args else ""
        return said.decode() if isinstance(said, bytes) else str(said) or "it cannot be compiled"
    if compiled.programsize > _PROGRAM:
        return f"it is too large for Envoy: {compiled.programsize} instructions, {_PROGRAM} at most"
    return ""


def _value(given: Header | model.QueryParamMatch) -> ir.ValueMatch | str:
    if given.type == "Exact":
        return ir.Exact(given.value)
    return flaw_of(given.value) or ir.Regex(given.value)


def bad(pattern: str, flaw: str, where: Origin) -> Diagnostic:
    """An expression that Envoy would refuse."""
    hint = "RE2 has no look-around and no back-references: https://github.com/google/re2/wiki/Syntax"
    return error("DRG1301", f"`{pattern}` is not a valid regular expression", where, label=flaw, help=hint)
