"""Rewritten paths (the table of HTTPPathModifier) and Location headers (HTTPRequestRedirectFilter)."""

from __future__ import annotations

import pytest
import re2

from dragoman.ir import model as ir, rewrite
from dragoman.ir.request import Request, parse, prepare


@pytest.mark.parametrize(
    ("path", "prefix", "value", "expected"),
    [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"),
        ("/foo/", "/foo", "", "/"),
        ("/foo", "/foo", "", "/"),
        ("/foo/", "/foo", "/", "/"),
        ("/foo", "/foo", "/", "/"),
        ("/foo?x=1", "/", "/xyz", "/xyz/foo?x=1"),
        ("/foo", "/", "/", "/foo"),
    ],
)
def test_prefix(path: str, prefix: str, value: str, expected: str) -> None:
    assert rewrite.path(ir.ReplacePrefix(prefix, value), prepare(Request("a", path)), re2.compile) == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (None, "/foo?x=1"),
        (ir.ReplaceFullPath("/bar"), "/bar?x=1"),
        (ir.ReplaceFullPath(""), "/?x=1"),
    ],
)
def test_full(rule: ir.PathRewrite | None, expected: str) -> None:
    assert rewrite.path(rule, prepare(Request("a", "/foo?x=1")), re2.compile) == expected


@pytest.mark.parametrize(
    ("redirect", "url", "expected"),
    [
        (ir.Redirect(), "http://a.example/foo?x=1", "http://a.example/foo?x=1"),
        (ir.Redirect(), "http://A.example:8080/foo", "http://A.example:8080/foo"),
        (ir.Redirect(scheme="https", port=0), "http://a.example:80/foo", "https://a.example/foo"),
        (ir.Redirect(scheme="https", port=0), "http://a.example:81/foo", "https://a.example:81/foo"),
        (ir.Redirect(scheme="https", port=443), "http://a.example:8080/", "https://a.example:443/"),
        (ir.Redirect(scheme="http", port=0), "http://a.example:80/foo", "http://a.example:80/foo"),
        (ir.Redirect(hostname="b.example", port=0), "http://a.example:8080/", "http://b.example/"),
        (ir.Redirect(hostname="b.example", port=81), "http://a.example:8080/", "http://b.example:81/"),
        (
            ir.Redirect(path=ir.ReplaceFullPath("/bar")),
            "https://a.example/foo?x=1",
            "https://a.example/bar?x=1",
        ),
    ],
)
def test_location(redirect: ir.Redirect, url: str, expected: str) -> None:
    request = parse("GET", url)
    assert rewrite.location(redirect, request, prepare(request), re2.compile) == expected


@pytest.mark.parametrize(
    ("pattern", "value", "path", "expected"),
    [
        (r"^/users/(\d+)/orders$", r"/orders/\1", "/users/12/orders", "/orders/12"),
        (r"^/users/(\d+)/orders$", r"/orders/\1", "/users/x/orders", "/users/x/orders"),
        ("o", "0", "/foo?o=o", "/f00?o=o"),
        (".*", "/x", "/foo", "/x"),
        ("a*", "-", "/baac", "-/-b-c-"),
        (r"^/(a)?", r"/\1\\", "/b", "/\\b"),
    ],
)
def test_pattern(pattern: str, value: str, path: str, expected: str) -> None:
    rule = ir.ReplacePattern(pattern, value)
    assert rewrite.path(rule, prepare(Request("a", path)), re2.compile) == expected
