"""The matcher against the rules of the specification, said a second time and more slowly."""

from __future__ import annotations

import re
from dataclasses import replace

import re2
from hypothesis import given, settings, strategies as st

from dragoman import difference
from dragoman.difference import samples
from dragoman.ir import hosts, match, model as ir, request as requests
from dragoman.ir.request import Request
from tests.unit.ir.build import BIND, PLAIN, View, forward, plain, route

LABELS = st.sampled_from(["a", "b", "shop", "example"])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
DOMAINS = NAMES | NAMES.map(lambda name: f"*.{name}") | st.just("*")
SEGMENTS = st.lists(st.sampled_from(["a", "b", "ab", "A"]), max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)
VALUES = st.sampled_from(["1", "2", "abc", ""])
PATHS = (
    SEGMENTS.map(ir.ExactPath)
    | SEGMENTS.map(ir.SegmentPrefix)
    | SEGMENTS.map(ir.StringPrefix)
    | st.sampled_from(["/a.*", "/[ab]+(/.*)?", "/.*/b", "/(a|b)/?"]).map(ir.RegexPath)
)
CONDITIONS = (
    VALUES.map(ir.Exact) | st.sampled_from(["[0-9]", "a.*", ".*"]).map(ir.Regex) | st.just(ir.Present())
)
HEADERS = st.builds(ir.HeaderMatch, st.sampled_from(["x-a", "x-b"]), CONDITIONS, st.booleans())
QUERIES = st.builds(ir.QueryMatch, st.sampled_from(["p", "q"]), CONDITIONS)


@st.composite
def route_lists(draw: st.DrawFn, most: int = 6) -> list[ir.Route]:
    return [
        route(
            f"r{number}",
            draw(PATHS),
            forward(draw(st.sampled_from("abc"))),
            method=draw(st.sampled_from(["", "", "GET", "POST"])),
            headers=draw(st.lists(HEADERS, max_size=2)),
            query=draw(st.lists(QUERIES, max_size=1)),
        )
        for number in range(draw(st.integers(0, most)))
    ]


@st.composite
def request_values(draw: st.DrawFn) -> Request:
    query = "&".join(f"{name}={draw(VALUES)}" for name in draw(st.lists(st.sampled_from("pq"), max_size=3)))
    return Request(
        authority=draw(NAMES),
        path=draw(SEGMENTS) + (f"?{query}" if query else ""),
        method=draw(st.sampled_from(["GET", "POST"])),
        headers=tuple(
            (name, draw(VALUES)) for name in draw(st.lists(st.sampled_from(["x-a", "X-B"]), max_size=3))
        ),
    )


@given(st.lists(DOMAINS, unique=True), NAMES)
def test_the_most_specific_domain_is_found(known: list[str], host: str) -> None:
    """By labels, as the matcher looks them up, and by comparing all, as `hosts.best` does."""
    assert next((each for each in match.domains(host) if each in known), None) == hosts.best(known, host)


@settings(max_examples=300)
@given(route_lists(), request_values())
def test_the_winner_is_the_first_in_precedence_of_those_that_match(
    routes: list[ir.Route], request: Request
) -> None:
    matcher = match.Matcher(*plain({"*": routes}), re2.compile)
    found = matcher.match(request)
    assert matcher.match(request, thorough=False).winner is found.winner
    fitting = [each for each in routes if holds(each.match, request)]
    expected = min(fitting, key=lambda each: each.order, default=None)
    assert found.winner is expected
    assert [candidate.route for candidate in found.candidates] == sorted(routes, key=lambda each: each.order)
    for candidate in found.candidates:
        assert (candidate.failure is None) is (candidate.route in fitting)
        assert bool(candidate.reason) is (candidate.route is not expected)


def holds(wanted: ir.RouteMatch, request: Request) -> bool:
    """A match as the specification words it; Python's own regular expressions."""
    path, _, query = request.path.partition("?")
    match wanted.path:
        case ir.ExactPath(value):
            right = path == value
        case ir.SegmentPrefix(value):
            parts = [part for part in value.split("/") if part]
            right = [part for part in path.split("/") if part][: len(parts)] == parts
        case ir.StringPrefix(value):
            right = path[: len(value)] == value
        case ir.RegexPath(pattern):
            right = re.fullmatch(pattern, path) is not None
    if wanted.method and wanted.method != request.method:
        return False
    given = [(name.lower(), value) for name, value in request.headers]
    for header in wanted.headers:
        own = [value for name, value in given if name == header.name]
        if header.invert and not own and not isinstance(header.value, ir.Present):
            own = [""]  # a missing header is like an empty one for what must not be
        if any(fits(header.value, value) for value in own) is header.invert:
            return False
    pairs = [pair.split("=") for pair in query.split("&") if pair]
    for parameter in wanted.query:
        first = next((value for name, value in pairs if name == parameter.name), None)
        if first is None or not fits(parameter.value, first):
            return False
    return right


def fits(wanted: ir.ValueMatch, value: str) -> bool:
    match wanted:
        case ir.Exact(text):
            return value == text
        case ir.Regex(pattern):
            return re.fullmatch(pattern, value) is not None
        case ir.Present():
            return True


@given(route_lists(most=1), DOMAINS)
def test_samples_are_taken_by_the_route_they_were_made_of(routes: list[ir.Route], domain: str) -> None:
    """Unless two conditions of the match contradict each other."""
    listeners, tables = plain({domain: routes})
    matcher = match.Matcher(listeners, tables, re2.compile)
    for one in routes:
        headers = [each.name for each in one.match.headers]
        for sample in samples.requests(listeners[BIND], listeners[BIND].chains[0], domain, one.match):
            found = matcher.match(sample)
            assert found.host is tables[PLAIN][domain]
            if len(set(headers)) == len(headers) and not any(each.invert for each in one.match.headers):
                assert found.winner is one


@given(route_lists(), route_lists(most=1))
def test_differences_of_behaviour(routes: list[ir.Route], changed: list[ir.Route]) -> None:
    """Equal sides differ in nothing; a route alone on its host that goes elsewhere is always told."""
    world = View(*plain({"*": routes}))
    assert difference.behaviour(world, world) == []
    for one in changed:
        names = [each.name for each in one.match.headers]
        if len(set(names)) < len(names) or any(each.invert for each in one.match.headers):
            continue  # conditions may contradict each other
        before, after = (View(*plain({"*": [replace(one, action=forward(name))]})) for name in "xy")
        told = difference.behaviour(before, after)
        assert [change.details for change in told] == [("Service/shop/x/80 → Service/shop/y/80",)]


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), max_size=20))
def test_normalisation_leaves_plain_paths_alone(text: str) -> None:
    path = requests.canonical("/" + text.replace("?", "").replace("#", ""))
    assert path.startswith("/")
    segments = path.split("/")[1:]
    assert ".." not in segments
    assert "." not in segments
    plain_path = "/" + re.sub(r"[^a-z]", "", text.lower())
    assert requests.canonical(plain_path) == requests.merge_slashes(plain_path) == plain_path
