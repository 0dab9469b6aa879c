"""The matcher, rule by rule. `tests/envoy/test_explain_agrees.py` asks the real Envoy the same questions."""

from __future__ import annotations

import pytest
import re2

from dragoman.ir import match, model as ir
from dragoman.ir.match import Outcome
from dragoman.ir.request import Request, parse
from tests.unit.ir.build import forward, plain, route, tls


def answer(
    world: tuple, url: str, method: str = "GET", headers: dict[str, str] | None = None, **more: object
) -> match.Match:  # type: ignore[type-arg]
    found = parse(method, url, (headers or {}).items(), **more)  # type: ignore[arg-type]
    return match.Matcher(*world, re2.compile).match(found)


def winner(world: tuple, url: str, **more: object) -> str | None:  # type: ignore[type-arg]
    found = answer(world, url, **more).winner  # type: ignore[arg-type]
    return found.name if found else None


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("shop.example", "exact"),
        ("SHOP.example:8080", "exact"),
        ("a.example", "wide"),
        ("a.b.example", "narrow"),
        ("a.a.b.example", "narrow"),
        ("b.example", "wide"),
        ("example", "any"),
        ("other.test", "any"),
    ],
)
def test_the_most_specific_virtual_host_wins(host: str, expected: str) -> None:
    world = plain(
        {
            "shop.example": [route("exact")],
            "*.example": [route("wide")],
            "*.b.example": [route("narrow")],
            "*": [route("any")],
        }
    )
    assert winner(world, f"http://{host}/", port=80) == expected


def test_a_virtual_host_without_a_fitting_route_hands_on_to_none() -> None:
    world = plain({"shop.example": [route("cart", "/cart")], "*": [route("any")]})
    found = answer(world, "http://shop.example/other")
    assert (found.outcome, found.status, found.winner) == (Outcome.NO_ROUTE, 404, None)
    assert found.passed == ("*",)


def test_no_virtual_host() -> None:
    found = answer(plain({"shop.example": [route("cart")]}), "http://other.example/")
    assert (found.outcome, found.status) == (Outcome.NO_HOST, 404)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/cart", "exact"),
        ("/cart?x=1", "exact"),
        ("/cart/", "prefix"),
        ("/cart/1", "prefix"),
        ("/cartoon", "string"),
        ("/Cart", None),
        ("/v1", "regex"),
        ("/v1/x", None),
        ("//cart", "exact"),
        ("/x/../cart", "exact"),
    ],
)
def test_paths(path: str, expected: str | None) -> None:
    world = plain(
        {
            "*": [
                route("exact", ir.ExactPath("/cart")),
                route("regex", ir.RegexPath("/v[0-9]")),
                route("prefix", ir.SegmentPrefix("/cart")),
                route("string", ir.StringPrefix("/car")),
            ]
        }
    )
    assert winner(world, f"http://a.example{path}") == expected


@pytest.mark.parametrize(
    ("wanted", "headers", "expected"),
    [
        (ir.HeaderMatch("x-a", ir.Exact("1")), [("X-A", "1")], True),
        (ir.HeaderMatch("x-a", ir.Exact("1")), [], False),
        (ir.HeaderMatch("x-a", ir.Exact("1")), [("x-a", "2"), ("x-a", "1")], True),
        (ir.HeaderMatch("x-a", ir.Exact("2,1")), [("x-a", "2"), ("x-a", "1")], False),
        (ir.HeaderMatch("accept", ir.Exact("2,1")), [("accept", "2"), ("accept", "1")], True),
        (ir.HeaderMatch("x-a", ir.Exact("")), [], False),
        (ir.HeaderMatch("x-a", ir.Regex("a.c")), [("x-a", "abc")], True),
        (ir.HeaderMatch("x-a", ir.Regex("a.c")), [("x-a", "xabc")], False),
        (ir.HeaderMatch("x-a", ir.Present()), [("x-a", "")], True),
        (ir.HeaderMatch("x-a", ir.Present()), [], False),
        (ir.HeaderMatch("x-a", ir.Present(), invert=True), [], True),
        (ir.HeaderMatch("x-a", ir.Exact("1"), invert=True), [], True),
        (ir.HeaderMatch("x-a", ir.Exact("1"), invert=True), [("x-a", "1"), ("x-a", "2")], False),
        (ir.HeaderMatch("host", ir.Exact("a.example")), [], True),
    ],
)
def test_headers(wanted: ir.HeaderMatch, headers: list[tuple[str, str]], expected: bool) -> None:
    world = plain({"*": [route("it", headers=[wanted])]})
    found = match.Matcher(*world, re2.compile).match(Request("a.example", headers=tuple(headers)))
    assert (found.winner is not None) is expected


def test_candidates_say_why_they_lost() -> None:
    world = plain(
        {
            "*": [
                route("path", "/other/longer"),
                route("method", "/cart", method="POST"),
                route("header", "/cart", headers=[ir.HeaderMatch("x-env", ir.Exact("canary"))]),
                route("query", "/cart", query=[ir.QueryMatch("v", ir.Regex("[0-9]"))]),
                route("winner", "/cart"),
                route("wide", "/"),
            ]
        }
    )
    found = answer(world, "http://a.example/cart?v=x", headers={"x-env": "blue"})
    reasons = {candidate.route.name: candidate.reason for candidate in found.candidates}
    assert reasons == {
        "path": "path is `/cart`, wanted prefix `/other/longer`",
        "method": "method is `GET`, wanted POST",
        "header": "header `x-env` is `blue`, wanted `canary`",
        "query": "query `v` is `x`, wanted regex `[0-9]`",
        "winner": "",
        "wide": "winner comes first: its path is longer (5 characters against 1)",
    }
    assert found.winner is not None
    assert found.winner.name == "winner"
    missing = answer(world, "http://a.example/cart").candidates
    assert (
        next(c.reason for c in missing if c.route.name == "header")
        == "header `x-env` is missing, wanted `canary`"
    )


def test_not_thorough_names_the_winner_only() -> None:
    world = plain({"*": [route("first", "/cart"), route("second")]})
    matcher = match.Matcher(*world, re2.compile)
    assert len(matcher.match(Request("a", "/cart"), thorough=False).candidates) == 1
    assert len(matcher.match(Request("a", "/cart")).candidates) == 2


TLS = tls(
    {
        "shop.example": {"shop.example": [route("shop")], "*.example": None},
        "*.example": {"*.example": [route("wild")], "shop.example": None},
    }
)


@pytest.mark.parametrize(
    ("url", "more", "outcome", "name"),
    [
        ("https://shop.example/", {}, Outcome.ROUTED, "shop"),
        ("https://a.example/", {}, Outcome.ROUTED, "wild"),
        ("https://a.example/", {"sni": "shop.example"}, Outcome.MISDIRECTED, None),
        ("https://shop.example/", {"sni": "A.example"}, Outcome.MISDIRECTED, None),
        ("https://other.test/", {}, Outcome.NO_CHAIN, None),
        ("https://shop.example/", {"sni": ""}, Outcome.NO_CHAIN, None),
        ("http://shop.example:443/", {}, Outcome.NO_CHAIN, None),
        ("http://shop.example/", {}, Outcome.NO_LISTENER, None),
    ],
)
def test_tls(url: str, more: dict[str, str], outcome: Outcome, name: str | None) -> None:
    found = answer(TLS, url, **more)
    assert (found.outcome, found.winner and found.winner.name) == (outcome, name)
    assert bool(found.notes) is (outcome in (Outcome.NO_CHAIN, Outcome.NO_LISTENER))


def test_refused_before_routing() -> None:
    found = answer(plain({"*": [route("any")]}), "http://a.example/a%2fb")
    assert (found.outcome, found.status) == (Outcome.REFUSED, 307)
    assert found.prepared.reply is not None
    assert found.prepared.reply.location == "/a/b"


def test_without_a_port_the_listener_that_has_the_host_is_taken() -> None:
    binds = [ir.Bind("127.0.0.1", port) for port in (8080, 9090)]
    scopes = [ir.Scope(bind) for bind in binds]
    listeners = {
        b: ir.Listener(b, (ir.FilterChain("", None, s),)) for b, s in zip(binds, scopes, strict=True)
    }
    hosts = {
        scopes[0]: {"a.example": ir.VirtualHost(scopes[0], "a.example", (route("a"),))},
        scopes[1]: {"b.example": ir.VirtualHost(scopes[1], "b.example", (route("b", action=forward("b")),))},
    }
    found = answer((listeners, hosts), "http://b.example/")
    assert found.winner is not None
    assert (found.winner.name, found.bind) == ("b", binds[1])
    assert "127.0.0.1:8080 would do as well" in found.notes[0]
    assert answer((listeners, hosts), "http://b.example:8080/").outcome is Outcome.NO_HOST
    assert answer((listeners, hosts), "http://b.example:1/").outcome is Outcome.NO_LISTENER
