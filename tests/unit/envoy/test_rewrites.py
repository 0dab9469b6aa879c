"""Path rewrites: what is written, and that it does what the specification's table says."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from dragoman import proto
from dragoman.envoy import rewrites
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.route import v3 as route_proto

SEGMENT = st.text(alphabet="ab.+*$-_~\\", min_size=1, max_size=3)
PATH = st.lists(SEGMENT, max_size=3).map(lambda parts: "/" + "/".join(parts))


def rewritten(target: route_proto.RouteAction, prefix: str, path: str) -> str:
    """What Envoy makes of a path that `prefix` matched (the same is asked of Envoy itself in tests/envoy)."""
    if target.prefix_rewrite:
        return target.prefix_rewrite + path[len(prefix) :]
    if target.HasField("regex_rewrite"):
        pattern, value = target.regex_rewrite.pattern.regex, target.regex_rewrite.substitution
        return re.sub(pattern, value, path, count=1)
    return path


@pytest.mark.parametrize(
    ("prefix", "value", "path", "expected"),
    [
        ("/foo", "/xyz", "/foo/bar", "/xyz/bar"),
        ("/foo", "/xyz/", "/foo/bar", "/xyz/bar"),
        ("/foo/", "/xyz", "/foo/bar", "/xyz/bar"),
        ("/foo/", "/xyz/", "/foo/bar", "/xyz/bar"),
        ("/foo", "/xyz", "/foo", "/xyz"),
        ("/foo", "/xyz", "/foo/", "/xyz/"),
        ("/foo", "", "/foo/bar", "/bar"),
        ("/foo", "", "/foo/", "/"),
        ("/foo", "", "/foo", "/"),
        ("/foo", "/", "/foo/", "/"),
        ("/foo", "/", "/foo", "/"),
        ("/foo", "/", "/foo/bar", "/bar"),
        ("/", "/xyz", "/bar", "/xyz/bar"),
        ("/", "/xyz", "/", "/xyz/"),
        ("/", "/", "/bar", "/bar"),
    ],
)
def test_the_table_of_the_specification(prefix: str, value: str, path: str, expected: str) -> None:
    target = route_proto.RouteAction()
    rewrites.write(target, ir.ReplacePrefix(prefix, value), ir.SegmentPrefix(prefix))
    matched = prefix.rstrip("/") or "/"
    assert rewritten(target, matched, path) == expected


@given(PATH, PATH, PATH)
def test_no_slash_is_lost_or_doubled(prefix: str, value: str, rest: str) -> None:
    target = route_proto.RouteAction()
    rewrites.write(target, ir.ReplacePrefix(prefix, value), ir.SegmentPrefix(prefix))
    path = (prefix.rstrip("/") + rest) or "/"
    expected = (value.rstrip("/") + rest) or "/"
    assert rewritten(target, prefix.rstrip("/") or "/", path) == expected


@pytest.mark.parametrize(
    ("path", "written"),
    [
        (ir.ExactPath("/a"), {"prefix_rewrite": "/new"}),
        (ir.RegexPath("/a.*"), {"prefix_rewrite": "/new"}),
        (ir.SegmentPrefix("/a"), {"regex_rewrite": {"pattern": {"regex": "^.*$"}, "substitution": "/new"}}),
        (ir.StringPrefix("/a"), {"regex_rewrite": {"pattern": {"regex": "^.*$"}, "substitution": "/new"}}),
    ],
)
def test_full_replacement(path: ir.PathMatch, written: dict[str, object]) -> None:
    target = route_proto.RouteAction()
    rewrites.write(target, ir.ReplaceFullPath("/new"), path)
    assert proto.to_dict(target) == written


def test_a_backslash_is_no_capture_group() -> None:
    target = route_proto.RouteAction()
    rewrites.write(target, ir.ReplaceFullPath("/a\\1"), ir.SegmentPrefix("/"))
    assert rewritten(target, "/", "/x") == "/a\\1"


def test_redirects_replace_the_full_path_by_path_redirect() -> None:
    target = route_proto.RedirectAction()
    rewrites.write(target, ir.ReplaceFullPath("/new"), ir.SegmentPrefix("/a"))
    assert proto.to_dict(target) == {"path_redirect": "/new"}
