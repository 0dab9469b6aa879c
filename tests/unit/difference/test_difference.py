"""What a change does, by behaviour and by resource."""

from __future__ import annotations

from dataclasses import replace

import pytest
import re2

from dragoman import difference, resource
from dragoman.difference import samples
from dragoman.ir import model as ir
from tests.unit.ir.build import BIND, TLS_BIND, View, forward, route, service, tls, view

UP = ir.Endpoint("10.0.0.1", 8080)


def told(before: View, after: View) -> list[str]:
    return [str(change) for change in difference.behaviour(before, after)]


def test_nothing_changed() -> None:
    world = view({"shop.example": [route("it")]}, {"cart": [UP]})
    assert told(world, world) == []


def test_another_backend() -> None:
    before = view({"shop.example": [route("it", "/cart", forward("a"))]})
    after = view({"shop.example": [route("it", "/cart", forward("b"))]})
    assert told(before, after) == [
        "request GET http://shop.example/cart: Service/shop/a/80 → Service/shop/b/80"
    ]


def test_weights() -> None:
    before = view({"*": [route("it", "/", forward(("a", 90), ("b", 10)))]})
    after = view({"*": [route("it", "/", forward(("a", 1), ("b", 1)))]})
    (change,) = difference.behaviour(before, after)
    old, new = "Service/shop/a/80 90%, Service/shop/b/80 10%", "Service/shop/a/80 50%, Service/shop/b/80 50%"
    assert change.data() == {
        "change": "changed",
        "type": "request",
        "name": "GET http://any.invalid/",
        "details": [f"{old} → {new}"],
    }


def test_a_new_route_takes_requests_from_another() -> None:
    old = route("old", "/", forward("a"))
    new = route(
        "new", "/cart", forward("b"), method="POST", headers=[ir.HeaderMatch("x-env", ir.Regex("can(ary)?"))]
    )
    assert told(view({"*.example": [old]}), view({"*.example": [old, new]})) == [
        "request POST http://any.example/cart [x-env: canary]: Service/shop/a/80 → Service/shop/b/80"
    ]
    assert told(view({"*.example": [old, new]}), view({"*.example": [old]})) == [
        "request POST http://any.example/cart [x-env: canary]: Service/shop/b/80 → Service/shop/a/80"
    ]


def test_a_route_with_another_name_and_the_same_answer_is_no_difference() -> None:
    assert told(view({"*": [route("old")]}), view({"*": [route("new")]})) == []


def test_an_order_changed() -> None:
    first = route("first", ir.RegexPath("/[ab]"), forward("a"))
    second = route("second", ir.RegexPath("/[bc]"), forward("b"))
    behind = replace(first, order=first.order._replace(priority=1))
    assert (
        told(view({"*": [first, second]}), view({"*": [behind, second]})) == []
    )  # no sample in both: /a and /b
    wide = route("wide", ir.RegexPath("/.*"), forward("c"))
    before = view({"*": [first, replace(wide, order=wide.order._replace(priority=1))]})
    after = view({"*": [replace(first, order=first.order._replace(priority=1)), wide]})
    assert told(before, after) == ["request GET http://any.invalid/a: Service/shop/a/80 → Service/shop/c/80"]


def test_a_more_specific_host_takes_over() -> None:
    wide = {"*.example": [route("wide", "/", forward("a"))]}
    both = wide | {"shop.example": [route("narrow", "/x", forward("b"))]}
    assert told(view(wide), view(both)) == [
        "request GET http://shop.example/x: Service/shop/a/80 → Service/shop/b/80"
    ]


def test_everything_else_about_an_answer() -> None:
    action = replace(forward("a"), rewrite=ir.ReplaceFullPath("/n"), timeout=5.0, retry=ir.Retry(2, (503,)))
    before, after = view({"*": [route("it", "/c", forward("a"))]}), view({"*": [route("it", "/c", action)]})
    (change,) = difference.behaviour(before, after)
    assert change.details == ("path: /c → /n", "timeout: none → 5 s", "retry: none → attempts 2; codes 503")
    gone = view({"*": []})
    assert told(before, gone) == ["request GET http://any.invalid/c: Service/shop/a/80 → 404"]


def test_listeners() -> None:
    before = view({"shop.example": [route("it")]})
    after = View(*tls({"shop.example": {"shop.example": [route("it")]}}))
    assert told(before, after) == [
        "listener 127.0.0.1:80: closes for HTTP",
        "listener 127.0.0.1:443: opens for HTTPS (shop.example)",
    ]
    more = View(*tls({"shop.example": {"shop.example": [route("it")]}, "": {"*": []}}))
    assert told(after, more) == ["listener 127.0.0.1:443: server name (any): added"]
    assert BIND != TLS_BIND


def test_clusters_and_endpoints() -> None:
    before = view({}, {"a": [UP], "gone": [UP]})
    after = view({}, {"a": [replace(UP, health=ir.Health.DRAINING), ir.Endpoint("10.0.0.9", 1)], "new": [UP]})
    after.clusters[service("a")] = replace(after.clusters[service("a")], protocol=ir.AppProtocol.HTTP2)
    assert told(before, after) == [
        "cluster Service/shop/a/80: protocol: added http2",
        "endpoints Service/shop/a/80: 10.0.0.1:8080: healthy → draining; 10.0.0.9:1 added",
    ]


def test_resources_field_by_field() -> None:
    def made(name: str, payload: bytes) -> resource.Resource:
        return resource.make(resource.ROUTE, name, payload)

    bodies = {
        b"old": {"virtual_hosts": [{"name": "a", "routes": [{"name": "1", "cluster": "x"}]}]},
        b"new": {"virtual_hosts": [{"name": "a", "routes": [{"name": "0"}, {"name": "1", "cluster": "y"}]}]},
    }
    changes = difference.resources(
        [made("same", b"same"), made("gone", b"1"), made("table", b"old")],
        [made("same", b"same"), made("here", b"2"), made("table", b"new")],
        lambda item: bodies[item.payload],
    )
    assert [change.data() for change in changes] == [
        {"change": "removed", "type": "RDS", "name": "gone"},
        {"change": "added", "type": "RDS", "name": "here"},
        {
            "change": "changed",
            "type": "RDS",
            "name": "table",
            "details": [
                "virtual_hosts[a].routes[1].cluster: x → y",
                'virtual_hosts[a].routes[0]: added {"name": "0"}',
            ],
        },
    ]


def test_fields_of_lists() -> None:
    named = [{"name": "a"}, {"name": "b"}]
    assert list(difference.fields({"l": named}, {"l": named[::-1]})) == ["l: order a, b → b, a"]
    assert list(difference.fields({"l": [1, 2]}, {"l": [1, 3, 4]})) == ["l[1]: 2 → 3", "l[2]: added 4"]
    assert list(difference.fields({"a": 1}, {"b": 2})) == ["a: removed 1", "b: added 2"]


@pytest.mark.parametrize(
    "pattern",
    [
        "/v[0-9]+/items",
        "/(a|b)/c?",
        "/.*",
        r"/\d{4}-\d{2}\.html",
        "/[^/]+/x",
        r"^/exact$",
        "/(?:x|y){2}",
        r"[\w-]+@example\.com",
        "(?P<name>abc)",
        "a*?b",
        "[a-z][^a-z]",
        "",
    ],
)
def test_examples_of_expressions(pattern: str) -> None:
    found = samples.example(pattern)
    assert found is not None
    assert re2.fullmatch(pattern, found)


@pytest.mark.parametrize("pattern", ["(?i)abc", "(?=a)b", "(", r"\p{Greek}"])
def test_what_gives_no_example(pattern: str) -> None:
    assert samples.example(pattern) is None


def test_another_backend_for_some_tokens() -> None:
    def world(name: str) -> View:
        case = ir.Case((ir.Claim(("tier",), ("gold",)),), forward(name).backends)
        return view({"*": [route("it", "/", replace(forward("cart"), cases=(case,)))]})

    assert told(world("a"), world("b")) == [
        "request GET http://any.invalid/: if the token says tier gold: Service/shop/a/80 → Service/shop/b/80"
    ]
