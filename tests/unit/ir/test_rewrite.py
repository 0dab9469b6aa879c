"""Rewritten paths (the table of HTTPPathModifier) and Location headers (HTTPRequestRedirectFilter)."""

from __future__ import annotations

import pytest

from dragoman.ir import model as ir
from dragoman.ir import rewrite
from dragoman.ir.request import Request, prepare


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
    assert rewrite.path(ir.ReplacePrefix(prefix, value), prepare(Request("a", path))) == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (None, "/foo?x=1"),
        (ir.ReplaceFullPath("/bar"), "/bar?x=1"),
        (ir.ReplaceFullPath(""), "/?x=1"),
    ],
)
def test_full(rule: ir.PathRewrite | None, expected: str) -> None:
    assert rewrite.path(rule, prepare(Request("a", "/foo?x=1"))) == expected


@pytest.mark.parametrize(
    ("redirect", "scheme", "port", "expected"),
    [
        (ir.Redirect(), "http", 80, "http://a.example/foo?x=1"),
        (ir.Redirect(), "http", 8080, "http://a.example:8080/foo?x=1"),
        (ir.Redirect(scheme="https"), "http", 8080, "https://a.example/foo?x=1"),
        (ir.Redirect(scheme="https", port=8443), "http", 80, "https://a.example:8443/foo?x=1"),
        (ir.Redirect(scheme="https", port=443), "http", 80, "https://a.example/foo?x=1"),
        (ir.Redirect(hostname="b.example", port=0), "http", 8080, "http://b.example/foo?x=1"),
        (ir.Redirect(port=80), "https", 443, "https://a.example:80/foo?x=1"),
        (ir.Redirect(path=ir.ReplaceFullPath("/bar")), "https", 443, "https://a.example/bar?x=1"),
    ],
)
def test_location(redirect: ir.Redirect, scheme: str, port: int, expected: str) -> None:
    request = Request("a.example:1234", "/foo?x=1", scheme=scheme)
    assert rewrite.location(redirect, request, prepare(request), port) == expected
