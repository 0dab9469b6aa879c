"""What Envoy makes of a request before routing. Every expected value was seen on Envoy 1.40."""

from __future__ import annotations

import pytest

from dragoman.ir import request as requests


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/../x", "/x"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/.", "/"),
        ("/..", "/"),
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/a/%2e", "/a/"),
        ("/a/.../b", "/a/.../b"),
        ("/a/.x/b", "/a/.x/b"),
        ("/a/..x/b", "/a/..x/b"),
        ("/a./b../c", "/a./b../c"),
        ("/a/b/../../../c", "/c"),
        ("//..", "/"),
        ("//../a", "/a"),
        ("/a//..", "/a/"),
        ("/a/..//b", "//b"),
        ("/a\\b", "/a/b"),
        ("/a\\..\\b", "/b"),
        ("/a/.%5cb", "/a/.%5cb"),
        ("/%41%2D%2f%20", "/A-%2f%20"),
        ("/~%7E%5f", "/~~_"),
        ("/%c3%a9", "/%c3%a9"),
        ("/a%zz%", "/a%zz%"),
        ("/%2", "/%2"),
        ('/a|b^c`d{e}<f>"', "/a%7Cb%5Ec%60d%7Be%7D%3Cf%3E%22"),
        ("/a'b(c)*d,e+f!g$h&i=j:k@l[m]", "/a'b(c)*d,e+f!g$h&i=j:k@l[m]"),
        ("/a/..;x/b", "/b"),
        ("/a/.;x/b", "/a/b"),
        ("/..;", "/"),
        ("/a/...;x/b", "/a/...;x/b"),
        ("/a/%2e;x/b", "/a/.;x/b"),
        ("/a/.%2e;x/b", "/a/..;x/b"),
        ("/a;p=1/b;x", "/a;p=1/b;x"),
        ("/a/..;x\\b", "/"),
    ],
)
def test_canonical_path(path: str, expected: str) -> None:
    assert requests.canonical(path) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/a//b", "/a/b"), ("//a", "/a"), ("/a/b//", "/a/b/"), ("///", "//"), ("//", "//"), ("/a/b/", "/a/b/")],
)
def test_merged_slashes(path: str, expected: str) -> None:
    assert requests.merge_slashes(path) == expected


@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/a%2fb", 307, "/a/b"),
        ("/a%2Fb?x%2f=1", 307, "/a/b?x%2f=1"),
        ("/a%5cb", 307, "/a/b"),
        ("/a%2f..%2fb", 307, "/b"),
        ("/%2f", 307, "//"),
        ("/a%00%2f", 400, ""),
        ("/a%00b", 400, ""),
        ("/a#b", 400, ""),
        ("*", 400, ""),
        ("a", 400, ""),
        ("/é", 400, ""),
    ],
)
def test_requests_that_reach_no_route(path: str, status: int, location: str) -> None:
    reply = requests.prepare(requests.Request("shop.example", path)).reply
    assert reply is not None
    assert (reply.status, reply.location) == (status, location)


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("Shop.Example", "shop.example"),
        ("shop.example:8080", "shop.example"),
        ("shop.example:", "shop.example"),
        ("shop.example:abc", "shop.example"),
        ("shop.example.", "shop.example"),
        ("shop.example.:80", "shop.example"),
        ("shop.example..", "shop.example."),
        ("shop.example:80:90", "shop.example:80:90"),
        ("[::1]:80", "[::1]"),
        ("[::1]", "[::1]"),
    ],
)
def test_host(authority: str, host: str) -> None:
    assert requests.prepare(requests.Request(authority)).host == host


def test_query_is_split_and_not_decoded() -> None:
    prepared = requests.prepare(requests.Request("a", "/q?b&a=1&a=2&c=x%20y&=z&d=p=q"))
    assert prepared.path == "/q"
    found = {name: prepared.parameter(name) for name in "abcde"}
    assert found == {"a": "1", "b": "", "c": "x%20y", "d": "p=q", "e": None}
    assert requests.prepare(requests.Request("a", "/q?")).parameter("a") is None


def test_headers_as_matchers_see_them() -> None:
    given = (
        ("X-A", " 1 "),
        ("x-a", "2"),
        ("Accept", "a"),
        ("accept", ""),
        ("accept", "b"),
        ("x_b", "1"),
        ("X-Envoy-Retry-On", "5xx"),
    )
    prepared = requests.prepare(requests.Request("Shop.example:80", headers=given, scheme="https"))
    assert prepared.headers["x-a"] == ("1", "2")
    assert prepared.headers["accept"] == ("a,b",)
    assert prepared.headers["host"] == ("Shop.example:80",)
    assert prepared.headers["x-forwarded-proto"] == ("https",)
    assert not {"x_b", "x-envoy-retry-on"} & prepared.headers.keys()
    assert "underscore" in prepared.notes[0]


def test_hop_by_hop_headers_are_gone_but_for_upgrades() -> None:
    plain = requests.prepare(requests.Request("a", headers=(("connection", "close"), ("te", "trailers"))))
    assert not {"connection", "te"} & plain.headers.keys()
    upgrade = (("Connection", "Upgrade"), ("Upgrade", "websocket"))
    assert requests.prepare(requests.Request("a", headers=upgrade)).headers["upgrade"] == ("websocket",)


def test_parse_url() -> None:
    request = requests.parse("GET", "http://Shop.example:8080/cart?x=1&y", [("x-env", "canary")])
    assert (request.authority, request.path, request.port) == ("Shop.example:8080", "/cart?x=1&y", 8080)
    assert str(request) == "GET http://Shop.example:8080/cart?x=1&y"
    assert requests.parse("GET", "shop.example").path == "/"
    assert requests.parse("GET", "http://shop.example?x").path == "/?x"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://shop.example/cart?x=1#there", "/cart?x=1"),
        ("http://shop.example#there", "/"),
        ("http://shop.example?next=/cart", "/?next=/cart"),
        ("http://shop.example/caf\u00e9 one?q=\u00fc", "/caf%C3%A9%20one?q=%C3%BC"),
        ("http://shop.example/a%20b{c}|d", "/a%20b{c}|d"),
    ],
)
def test_a_url_is_sent_as_clients_do(url: str, path: str) -> None:
    request = requests.parse("GET", url)
    assert (request.authority, request.path) == ("shop.example", path)
    assert requests.prepare(request).reply is None


def test_parse_takes_the_host_header_and_keeps_the_server_name() -> None:
    request = requests.parse("GET", "https://front.example/", [("Host", "shop.example")])
    assert (request.authority, request.server_name, request.headers) == ("shop.example", "front.example", ())
    assert requests.parse("GET", "https://127.0.0.1/").server_name == ""
    assert requests.parse("GET", "http://shop.example/").server_name == ""
    assert requests.parse("GET", "https://shop.example/", sni="").server_name == ""


@pytest.mark.parametrize("url", ["ftp://shop.example/", "http:///x", ""])
def test_parse_refuses_what_is_no_http_url(url: str) -> None:
    with pytest.raises(ValueError, match="expected http"):
        requests.parse("GET", url)
