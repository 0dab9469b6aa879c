"""HTTPPolicy through the real Envoy: headers, query parameters, rewrites; and what explain says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.envoy import policy_site
from tests.envoy.policy_site import policy, route

pytestmark = pytest.mark.envoy


async def test_request_headers(envoy_binary: Path) -> None:
    text = route("all") + policy(
        "all",
        """
  requestHeaders:
    rename: [{name: X-Old, to: x-moved}, {name: x-none, to: x-nothing}]
    remove: [x-gone]
    removePrefixes: [X-Internal-]
    set:
    - {name: x-id, value: "%REQ(x-id?x-moved)% of %REQ(:method)%"}
    - {name: x-client, value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% 100%%"}
    - {name: x-copy, value: "%REQ(x-not-there)%"}
    add: [{name: x-many, value: two}]
""",
    )
    async with policy_site.running(envoy_binary, text) as site:
        seen = await site.seen(
            "all",
            **{"x-old": "old", "x-gone": "1", "x-internal-a": "1", "x-internal-b": "1", "x-inter": "stays"},
            **{"x-many": "one", "x-nothing": "mine", "x-copy": "client"},
        )
        headers = seen["headers"]
        for name in ("x-request-id", "x-forwarded-for", "x-envoy-external-address"):
            del headers[name]
        assert {name: value for name, value in headers.items() if name.startswith("x-")} == {
            "x-moved": "old",
            "x-id": "old of GET",
            "x-client": "127.0.0.1 100%",
            "x-many": "one,two",
            "x-nothing": "mine",
            "x-copy": "client",  # an empty value changes nothing
            "x-inter": "stays",
            "x-forwarded-proto": "http",
        }


async def test_the_routes_own_filters_have_the_last_word(envoy_binary: Path) -> None:
    own = (
        "{backendRefs: [ECHO], filters: ["
        "{type: RequestHeaderModifier, requestHeaderModifier:"
        " {set: [{name: x-a, value: route}], add: [{name: x-b, value: route}], remove: [x-c]}},"
        "{type: ResponseHeaderModifier, responseHeaderModifier:"
        " {set: [{name: x-a, value: route}], add: [{name: x-b, value: route}], remove: [x-c]}}]}"
    )
    changes = "{set: [" + ", ".join(f"{{name: x-{one}, value: policy}}" for one in "abcd") + "]}"
    text = route("own", own) + policy("own", f"  requestHeaders: {changes}\n  responseHeaders: {changes}")
    async with policy_site.running(envoy_binary, text) as site:
        seen = await site.seen("own")
        assert [seen["headers"].get(f"x-{one}") for one in "abcd"] == [
            *("route", "policy,route", None),
            "policy",
        ]
        reply = await site.ask("own", **{"x-echo-set-header": "x-c:backend"})
        assert [reply.headers.get(f"x-{one}") for one in "abcd"] == ["route", "route", None, "policy"]


async def test_response_headers(envoy_binary: Path) -> None:
    away = (
        "{matches: [{path: {value: /away}}], filters: [{type: RequestRedirect, requestRedirect: {port: 1}}]}"
    )
    text = route("all", "{backendRefs: [ECHO]}", away) + policy(
        "all",
        """
  responseHeaders:
    rename: [{name: x-old, to: x-new}]
    remove: [x-pod]
    removePrefixes: [x-secret-]
    set: [{name: x-id, value: "%REQ(x-id)%:%RESPONSE_CODE%"}]
    add: [{name: x-b, value: "%RESP(x-b)%2"}]
""",
    )
    async with policy_site.running(envoy_binary, text) as site:
        sent = "x-old:1, x-secret-a:1, x-secret-b:1, x-b:1"
        reply = await site.ask("all", **{"x-id": "7", "x-echo-set-header": sent})
        found = {name: value for name, value in reply.headers.items() if name.startswith("x-")}
        assert found == {"x-new": "1", "x-id": "7:200", "x-b": "1,12"}
        # Also what Envoy answers itself.
        reply = await site.ask("all", "/away", **{"x-id": "7"})
        assert (reply.status, reply.headers["x-id"]) == (302, "7:302")


QUERIES = (
    "",
    "?a=1",
    "?b=2&a=1&gone=3",
    "?keep&gone",
    "?s=0&s=1&z=9",
    "?s=%41%20b&k=a+b",
    "?x=1&&y=2",
    "?x=1&",
    "?",
    "?&",
    "?=3",
)


async def test_query_parameters(envoy_binary: Path) -> None:
    text = route("all") + policy(
        "all",
        """
  queryParameters:
    remove: [gone]
    set: [{name: s, value: "a b&c~100%%"}]
    add: [{name: a, value: two}]
""",
    )
    text += route("value") + policy(
        "value", '  queryParameters: {set: [{name: user, value: "%REQ(x-user)%"}]}'
    )
    async with policy_site.running(envoy_binary, text) as site:
        for query in QUERIES:
            seen = await site.seen("all", f"/p{query}")
            assert seen["path"] == site.explained("all", f"/p{query}")["action"]["path"], query
        assert (await site.seen("all", "/p?gone=1&a=1"))["path"] == "/p?a=1&s=a%20b%26c~100%25&a=two"
        # Nothing of what a client escaped is undone.
        evil = "x=%20HTTP/1.1%0D%0AX-Evil:%201%0D%0A&%67one=1&y=a+b%26"
        kept = "x=%20HTTP/1.1%0D%0AX-Evil:%201%0D%0A&y=a+b%26"
        seen = await site.seen("all", f"/p?{evil}", **{"x-dragoman-query-0": "mine"})
        assert seen["path"] == f"/p?{kept}&s=a%20b%26c~100%25&a=two"
        assert not [name for name in seen["headers"] if name.startswith("x-dragoman")]
        assert (await site.seen("value", "/p?user=x", **{"x-dragoman-query-0": "mine"}))[
            "path"
        ] == "/p?user=x"
        assert (await site.seen("value", "/p", x_user="me"))["path"] == "/p?user=me"


REWRITES = {
    "path": r"path: {regex: '^/users/(\d+)/(.*)$', substitution: '/o/\2/by/\1'}",
    "every": r"path: {regex: 'a', substitution: 'bb'}",
    "literal": "host: {name: inner.test}",
    "header": "host: {header: X-Tenant}",
    "frompath": r"host: {path: {regex: '^/([a-z]+).*$', substitution: '\1.tenants.test'}}",
    "both": r"{path: {regex: '^/t/(\w+)', substitution: /}, "
    r"host: {path: {regex: '^/t/(\w+).*', substitution: '\1.test'}}}",
}
URL = "{type: URLRewrite, urlRewrite: %s}"


async def test_rewrites(envoy_binary: Path) -> None:
    text = "".join(
        route(name) + policy(name, f"  rewrite:\n    {spec}" if spec[0] != "{" else f"  rewrite: {spec}")
        for name, spec in REWRITES.items()
    )
    own = "{backendRefs: [ECHO], matches: [{path: {value: /t}}], filters: [" + URL + "]}"
    text += route("ownpath", own % "{path: {type: ReplacePrefixMatch, replacePrefixMatch: /own}}")
    text += policy("ownpath", f"  rewrite: {REWRITES['both']}")
    text += route("ownhost", own % "{hostname: own.test}")
    text += policy("ownhost", f"  rewrite: {REWRITES['both']}")
    text += route("renamed") + policy(
        "renamed", "  rewrite: {host: {header: x-t}}\n  requestHeaders: {rename: [{name: x-in, to: x-t}]}"
    )
    expected = {
        ("path", "/users/12/a/b?q=1"): ("/o/a/b/by/12?q=1", "path.test"),
        ("path", "/users/x/a"): ("/users/x/a", "path.test"),
        ("every", "/banana?a=a"): ("/bbbnbbnbb?a=a", "every.test"),
        ("literal", "/x"): ("/x", "inner.test"),
        ("header", "/x"): ("/x", "header.test"),
        ("frompath", "/blue/x?y"): ("/blue/x?y", "blue.tenants.test"),
        ("both", "/t/red/x"): ("//x", "red.test"),
        ("ownpath", "/t/red"): ("/own/red", "red.test"),
        ("ownhost", "/t/red"): ("/", "own.test"),
    }
    async with policy_site.running(envoy_binary, text) as site:

        async def asked(host: str, path: str, **headers: str) -> tuple[str, str]:
            seen = await site.seen(host, path, **headers)
            action = site.explained(host, path, **headers)["action"]
            assert (action["path"], action["host"]) == (seen["path"], seen["host"])
            return seen["path"], seen["host"]

        for (host, path), wanted in expected.items():
            assert await asked(host, path) == wanted, (host, path)
        assert await asked("header", "/x", x_tenant="acme.test") == ("/x", "acme.test")
        assert await asked("renamed", "/x", x_in="acme.test") == ("/x", "acme.test")
        assert await asked("renamed", "/x", x_t="acme.test") == ("/x", "acme.test")
