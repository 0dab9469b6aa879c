"""A route's match in Envoy's words. Called by `routes.py` for every route.

Regular expressions are RE2 and match the whole path (without query) or value, in Envoy as in the IR.
"""

from __future__ import annotations

from typing import assert_never

from dragoman.ir import model as ir
from dragoman.proto.envoy.config.route import v3 as route_proto
from dragoman.proto.envoy.type import v3 as percent
from dragoman.proto.envoy.type.matcher import v3 as matcher


def write(target: route_proto.RouteMatch, match: ir.RouteMatch) -> None:
    """Writes all conditions of `match`; they must all hold."""
    _path(target, match.path)
    if match.share:
        fraction = target.runtime_fraction.default_value
        fraction.numerator = match.share
        fraction.denominator = percent.FractionalPercent.MILLION
    if match.grpc:
        target.grpc.SetInParent()
    if match.method:
        header = target.headers.add()
        header.name = ":method"
        header.string_match.exact = match.method
    for condition in match.headers:
        _header(target.headers.add(), condition)
    for parameter in match.query:
        query = target.query_parameters.add()
        query.name = parameter.name
        if isinstance(parameter.value, ir.Present):
            query.present_match = True
        else:
            _string(query.string_match, parameter.value)


def _path(target: route_proto.RouteMatch, path: ir.PathMatch) -> None:
    match path:
        case ir.SegmentPrefix(value):
            stem = value.rstrip("/")
            if stem:
                target.path_separated_prefix = stem
            else:
                target.prefix = "/"
        case ir.ExactPath(value):
            target.path = value
        case ir.StringPrefix(value):
            target.prefix = value
        case ir.RegexPath(pattern):
            target.safe_regex.regex = pattern
        case _:
            assert_never(path)


def _header(target: route_proto.HeaderMatcher, condition: ir.HeaderMatch) -> None:
    # HTTP/2 has no Host header, and Envoy keeps HTTP/1's under the same name.
    target.name = ":authority" if condition.name == "host" else condition.name
    if isinstance(condition.value, ir.Present):
        target.present_match = True
    else:
        _string(target.string_match, condition.value)
        # "Not this value" holds for a missing header too; Envoy's inverted match alone says no.
        target.treat_missing_header_as_empty = condition.invert
    target.invert_match = condition.invert


def _string(target: matcher.StringMatcher, value: ir.Exact | ir.Regex) -> None:
    match value:
        case ir.Exact(text):
            target.exact = text
        case ir.Regex(pattern):
            target.safe_regex.regex = pattern
        case _:
            assert_never(value)
