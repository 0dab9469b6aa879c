r"""Path rewrites for forwarded requests and redirects (Gateway API v1.6, HTTPPathModifier).

Envoy replaces the matched prefix as a string, which leaves `//bar` when `/foo` becomes `/`. What is
written instead:

| match      | replace prefix by | Envoy                                  | /foo    | /foo/    | /foo/bar    |
|------------|-------------------|----------------------------------------|---------|----------|-------------|
| `/foo`     | `/xyz`, `/xyz/`   | `prefix_rewrite: /xyz`                 | /xyz    | /xyz/    | /xyz/bar    |
| `/foo`     | `` or `/`         | `regex_rewrite: ^/foo/*` by `/`        | /       | /        | /bar        |
| `/`        | `/xyz`            | `prefix_rewrite: /xyz/`                | /xyz/foo| /xyz/foo/| /xyz/foo/bar|
| `/`        | `` or `/`         | nothing                                | /foo    | /foo/    | /foo/bar    |

A full replacement swaps the matched path where Envoy takes that to be all of it (exact, regular
expression), and rewrites by `^.*$` after a prefix. The query is always kept.
"""

from __future__ import annotations

import re
from typing import assert_never

from dragoman.ir import model as ir
from dragoman.proto.envoy.config.route import v3 as route_proto

Target = route_proto.RouteAction | route_proto.RedirectAction


def write(target: Target, rewrite: ir.PathRewrite, path: ir.PathMatch) -> None:
    """Writes `rewrite` into the action of a route that matches `path`."""
    match rewrite:
        case ir.ReplaceFullPath(value):
            _full(target, value or "/", path)
        case ir.ReplacePrefix(prefix, value):
            _prefix(target, prefix.rstrip("/"), value.rstrip("/"))
        case ir.ReplacePattern(pattern, value):
            target.regex_rewrite.pattern.regex = pattern
            target.regex_rewrite.substitution = value
        case _:
            assert_never(rewrite)


def write_host(target: route_proto.RouteAction, rewrite: ir.HostRewrite) -> None:
    """Writes a host that is found in the request."""
    match rewrite:
        case ir.HostFromHeader(name):
            target.host_rewrite_header = name
        case ir.HostFromPath(pattern, value):
            target.host_rewrite_path_regex.pattern.regex = pattern
            target.host_rewrite_path_regex.substitution = value
        case _:
            assert_never(rewrite)


def _full(target: Target, value: str, path: ir.PathMatch) -> None:
    if isinstance(target, route_proto.RedirectAction):
        target.path_redirect = value
    elif isinstance(path, ir.ExactPath | ir.RegexPath):
        target.prefix_rewrite = value
    else:
        _regex(target, "^.*$", value)


def _prefix(target: Target, prefix: str, value: str) -> None:
    if value:
        target.prefix_rewrite = value if prefix else f"{value}/"
    elif prefix:
        _regex(target, f"^{re.escape(prefix)}/*", "/")


def _regex(target: Target, pattern: str, value: str) -> None:
    target.regex_rewrite.pattern.regex = pattern
    target.regex_rewrite.substitution = value.replace("\\", "\\\\")
