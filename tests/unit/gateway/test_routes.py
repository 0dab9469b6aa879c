"""HTTPRoute rules -> IR routes: matches, precedence, filters, backends, timing."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.diagnostics import Severity
from dragoman.ir import model as ir
from dragoman.refs import Ref

SHOP = ir.ClusterKey(Ref("", "Service", "default", "shop"), 8080)


# --- matches ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("{}", ir.RouteMatch(ir.SegmentPrefix("/"))),
        ("{path: {value: /a/}}", ir.RouteMatch(ir.SegmentPrefix("/a"))),
        ("{path: {type: Exact, value: /a/}}", ir.RouteMatch(ir.ExactPath("/a/"))),
        ("{path: {type: RegularExpression, value: '/a[0-9]+'}}", ir.RouteMatch(ir.RegexPath("/a[0-9]+"))),
        ("{method: GET}", ir.RouteMatch(ir.SegmentPrefix("/"), "GET")),
        (
            "{headers: [{name: X-Env, value: canary}, {name: x-env, value: other}]}",
            ir.RouteMatch(ir.SegmentPrefix("/"), "", (ir.HeaderMatch("x-env", ir.Exact("canary")),)),
        ),
        (
            "{queryParams: [{name: A, value: b, type: RegularExpression}, {name: a, value: c}]}",
            ir.RouteMatch(
                ir.SegmentPrefix("/"),
                query=(ir.QueryMatch("A", ir.Regex("b")), ir.QueryMatch("a", ir.Exact("c"))),
            ),
        ),
    ],
)
def test_matches(match: str, expected: ir.RouteMatch, shop: Any, http_route: Any) -> None:
    shop.apply(http_route(f"- matches: [{match}]\n  backendRefs: [{{name: shop, port: 8080}}]"))
    assert [one.match for one in shop.routes().routes] == [expected]


def test_no_matches_is_everything(shop: Any, http_route: Any) -> None:
    shop.apply(http_route("- matches: []\n  backendRefs: [{name: shop, port: 8080}]"))
    assert [one.match for one in shop.routes().routes] == [ir.RouteMatch(ir.SegmentPrefix("/"))]


def test_precedence(shop: Any, http_route: Any) -> None:
    """Exact, expressions, prefixes by length, method, headers, parameters, then the position in the route."""
    rules = """
- {name: root}
- name: query
  matches: [{queryParams: [{name: a, value: b}]}]
- name: header
  matches: [{headers: [{name: a, value: b}]}]
- name: method
  matches: [{method: GET}]
- name: long
  matches: [{path: {value: /abc}}]
- name: regex
  matches: [{path: {type: RegularExpression, value: /.*}}]
- name: exact
  matches: [{path: {type: Exact, value: /abc}}]
- {name: again}
"""
    shop.apply(http_route(rules))
    ordered = sorted(shop.routes().routes, key=lambda one: one.order)
    names = [one.name.split("/")[-2] for one in ordered]
    assert names == ["exact", "regex", "long", "method", "header", "query", "root", "again"]


def test_older_routes_come_first(shop: Any, http_route: Any) -> None:
    for name, created in (("b", "2024-01-01T00:00:00Z"), ("a", "2024-01-02T00:00:00Z"), ("c", "")):
        text = http_route(name=name)
        about = f"metadata: {{name: {name}, creationTimestamp: '{created}'}}"
        shop.apply(text.replace(f"metadata: {{name: {name}}}", about))
    routes = [one for name in "abc" for one in shop.routes(name).routes]
    assert [one.origin.ref.name for one in sorted(routes, key=lambda r: r.order)] == ["b", "a", "c"]


def test_priority_annotation(shop: Any, http_route: Any) -> None:
    text = http_route("- matches: [{path: {type: Exact, value: /a}}]", name="exact")
    shop.apply(
        text,
        http_route(name="first").replace(
            "{name: first}", "{name: first, annotations: {dragoman.dev/priority: '5'}}"
        ),
    )
    routes = [*shop.routes("exact").routes, *shop.routes("first").routes]
    assert min(routes, key=lambda one: one.order).origin.ref.name == "first"


def test_wrong_priority(shop: Any, http_route: Any) -> None:
    shop.apply(
        http_route().replace("{name: route}", "{name: route, annotations: {dragoman.dev/priority: high}}")
    )
    assert shop.findings() == ["DRG1307 metadata.annotations.dragoman.dev/priority"]


def test_names_are_identity(shop: Any, http_route: Any) -> None:
    shop.apply(http_route("- {name: cart, matches: [{}, {method: GET}]}\n- {}"))
    assert [one.name for one in shop.routes().routes] == [
        "HTTPRoute/default/route/cart/0",
        "HTTPRoute/default/route/cart/1",
        "HTTPRoute/default/route/#1/0",
    ]


@pytest.mark.parametrize("pattern", ["", "(", "a(?=b)", r"(a)\1", "[a-z0-9-]{1,60}/[a-z]{1,60}"])
def test_bad_expressions_drop_the_match(pattern: str, shop: Any, http_route: Any) -> None:
    rules = f"""
- matches: [{{path: {{type: RegularExpression, value: '{pattern}'}}}}]
  backendRefs: [{{name: shop, port: 8080}}]
- backendRefs: [{{name: shop, port: 8080}}]
"""
    shop.apply(http_route(rules))
    assert len(shop.routes().routes) == 1
    assert shop.findings() == ["DRG1301 spec.rules[0].matches[0].path.value"]
    conditions = shop.conditions("HTTPRoute", "route")
    assert conditions["Accepted"] == "True Accepted"
    assert conditions["PartiallyInvalid"] == "True UnsupportedValue"
    message = shop.status("HTTPRoute", "route")["parents"][0]["conditions"][2]["message"]
    assert message.startswith("Dropped Rule")


def test_only_bad_expressions(shop: Any, http_route: Any) -> None:
    shop.apply(http_route("- matches: [{headers: [{type: RegularExpression, name: a, value: '('}]}]"))
    conditions = shop.conditions("HTTPRoute", "route")
    assert conditions["Accepted"] == "False UnsupportedValue"
    assert "PartiallyInvalid" not in conditions
    assert shop.listener("http")["attachedRoutes"] == 0


# --- filters ----------------------------------------------------------------------------------------------


def filtered(
    filters: str, match: str = "{path: {value: /a}}", backends: str = "[{name: shop, port: 8080}]"
) -> str:
    return f"- matches: [{match}]\n  filters: {filters}\n  backendRefs: {backends}"


def test_header_modifiers(shop: Any, http_route: Any) -> None:
    filters = (
        "[{type: RequestHeaderModifier, requestHeaderModifier: "
        "{set: [{name: A, value: b}, {name: a, value: c}], add: [{name: D, value: e}], remove: [F, f]}},"
        "{type: ResponseHeaderModifier, responseHeaderModifier: {remove: [g]}}]"
    )
    shop.apply(http_route(filtered(filters)))
    (one,) = shop.routes().routes
    assert one.request_headers == ir.HeaderMutation((("a", "b"),), (("d", "e"),), ("f",))
    assert one.response_headers == ir.HeaderMutation(remove=("g",))


def test_host_is_set_by_rewriting(shop: Any, http_route: Any) -> None:
    change = "{set: [{name: Host, value: b.example}]}"
    shop.apply(http_route(filtered(f"[{{type: RequestHeaderModifier, requestHeaderModifier: {change}}}]")))
    assert shop.routes().routes[0].request_headers == ir.NO_MUTATION
    assert shop.action().hostname == "b.example"
    assert shop.findings() == []


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("request", "add: [{name: Host, value: a}]"),
        ("request", "remove: [HOST]"),
        ("request", "remove: [':path']"),
        ("request", "remove: ['']"),
        ("response", "set: [{name: host, value: a}]"),
    ],
)
def test_headers_that_cannot_be_changed(kind: str, change: str, shop: Any, http_route: Any) -> None:
    item = f"{{type: {kind.title()}HeaderModifier, {kind}HeaderModifier: {{{change}}}}}"
    shop.apply(http_route(filtered(f"[{item}]")))
    (one,) = shop.routes().routes
    assert not one.request_headers
    assert not one.response_headers
    field = change.partition(":")[0]
    assert shop.findings() == [f"DRG3001 spec.rules[0].filters[0].{kind}HeaderModifier.{field}"]


def test_host_of_one_of_several_backends(shop: Any, http_route: Any) -> None:
    modifier = "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: Host, value: b.example}]}}"
    shop.apply(
        http_route(
            f"- backendRefs: [{{name: shop, port: 8080, filters: [{modifier}]}}, {{name: shop, port: 8080}}]"
        )
    )
    first, second = shop.routes().routes
    assert (first.action.hostname, second.action.hostname) == ("b.example", "")
    shop.apply(http_route(f"- backendRefs: [{{name: shop, port: 8080, filters: [{modifier}]}}]"))
    assert shop.action().hostname == "b.example"
    assert shop.findings() == []


@pytest.mark.parametrize(
    ("redirect", "expected"),
    [
        ("{}", ir.Redirect(302)),
        ("{hostname: b.example, statusCode: 301}", ir.Redirect(301, hostname="b.example")),
        ("{scheme: https}", ir.Redirect(302, "https")),
        ("{scheme: https, port: 443}", ir.Redirect(302, "https", port=443)),
        ("{scheme: https, port: 8443}", ir.Redirect(302, "https", port=8443)),
        ("{port: 8080}", ir.Redirect(302, port=8080)),
        (
            "{path: {type: ReplaceFullPath, replaceFullPath: /b}}",
            ir.Redirect(302, path=ir.ReplaceFullPath("/b")),
        ),
        (
            "{path: {type: ReplacePrefixMatch, replacePrefixMatch: /b/}}",
            ir.Redirect(302, path=ir.ReplacePrefix("/a", "/b")),
        ),
        (
            "{path: {type: ReplaceFullPath, replaceFullPath: b}}",
            ir.Redirect(302, path=ir.ReplaceFullPath("/b")),
        ),
    ],
)
def test_redirects(redirect: str, expected: ir.Redirect, shop: Any, http_route: Any) -> None:
    rule = (
        f"- matches: [{{path: {{value: /a}}}}]\n  filters: [{{type: "
        f"RequestRedirect, requestRedirect: {redirect}}}]"
    )
    shop.apply(http_route(rule))
    assert shop.action() == expected
    assert shop.findings() == []


@pytest.mark.parametrize(
    ("rewrite", "hostname", "path"),
    [
        ("{hostname: b.example}", "b.example", None),
        ("{path: {type: ReplaceFullPath, replaceFullPath: ''}}", "", ir.ReplaceFullPath("/")),
        ("{path: {type: ReplacePrefixMatch, replacePrefixMatch: ''}}", "", ir.ReplacePrefix("/a", "/")),
        ("{path: {type: ReplacePrefixMatch, replacePrefixMatch: b/}}", "", ir.ReplacePrefix("/a", "/b")),
    ],
)
def test_rewrites(rewrite: str, hostname: str, path: Any, shop: Any, http_route: Any) -> None:
    shop.apply(http_route(filtered(f"[{{type: URLRewrite, urlRewrite: {rewrite}}}]")))
    assert (shop.action().hostname, shop.action().rewrite) == (hostname, path)


def test_mirrors(shop: Any, http_route: Any) -> None:
    target = "backendRef: {name: shop, port: 8080}"
    filters = (
        f"[{{type: RequestMirror, requestMirror: {{{target}}}}}, "
        f"{{type: RequestMirror, requestMirror: {{{target}, percent: 0}}}}, "
        f"{{type: RequestMirror, requestMirror: {{{target}, fraction: {{numerator: 1, denominator: 3}}}}}}]"
    )
    shop.apply(http_route(filtered(filters)))
    assert shop.action().mirrors == (
        ir.Mirror(SHOP, 100, 100),
        ir.Mirror(SHOP, 0, 100),
        ir.Mirror(SHOP, 1, 3),
    )


def test_mirror_to_nowhere_is_left_out(shop: Any, http_route: Any) -> None:
    shop.apply(
        http_route(filtered("[{type: RequestMirror, requestMirror: {backendRef: {name: shap, port: 8080}}}]"))
    )
    assert shop.action().mirrors == ()
    assert shop.conditions("HTTPRoute", "route")["ResolvedRefs"] == "False BackendNotFound"
    finding = shop.finding("DRG2003")
    assert finding.path == ("spec", "rules", 0, "filters", 0, "requestMirror", "backendRef", "name")
    assert finding.help == "did you mean `shop`?"


def test_cors(shop: Any, http_route: Any) -> None:
    cors = (
        "{allowOrigins: ['https://*.a.example'], allowMethods: ['*'], "
        "allowCredentials: true, exposeHeaders: [X-A]}"
    )
    shop.apply(http_route(filtered(f"[{{type: CORS, cors: {cors}}}]")))
    assert shop.routes().routes[0].cors == ir.Cors(("https://*.a.example",), ("*",), (), ("X-A",), True, 5)


def test_origins_as_browsers_write_them(shop: Any, http_route: Any) -> None:
    """They write host names in lower case, and no port that the scheme has anyway."""
    given = "['https://Shop.example:443', 'http://*.Shop.example:80', 'http://a.example:443']"
    shop.apply(http_route(filtered(f"[{{type: CORS, cors: {{allowOrigins: {given}}}}}]")))
    assert shop.routes().routes[0].cors.allow_origins == (
        "https://shop.example",
        "http://*.shop.example",
        "http://a.example:443",
    )


@pytest.mark.parametrize(
    ("item", "path"),
    [
        (
            "{type: ExtensionRef, extensionRef: {group: a.example, kind: Thing, name: x}}",
            "filters[0].extensionRef",
        ),
        (
            (
                "{type: ExternalAuth, externalAuth: {protocol: GRPC, grpc: {}, "
                "backendRef: {name: shop, port: 8080}}}"
            ),
            "filters[0]",
        ),
    ],
)
def test_filters_that_cannot_be_applied_fail_closed(item: str, path: str, shop: Any, http_route: Any) -> None:
    shop.apply(http_route(filtered(f"[{item}]") + "\n- backendRefs: [{name: shop, port: 8080}]"))
    assert shop.action() == ir.Respond(500)
    assert shop.findings() == [f"DRG1305 spec.rules[0].{path}"]
    assert shop.conditions("HTTPRoute", "route")["PartiallyInvalid"] == "True UnsupportedValue"


def test_the_route_of_refused_filters_answers_500_even_if_not_accepted(shop: Any, http_route: Any) -> None:
    shop.apply(http_route(filtered("[{type: ExtensionRef, extensionRef: {group: a, kind: B, name: c}}]")))
    assert shop.action() == ir.Respond(500)
    assert shop.conditions("HTTPRoute", "route")["Accepted"] == "False UnsupportedValue"


# --- backends ---------------------------------------------------------------------------------------------


def test_weights(shop: Any, http_route: Any) -> None:
    refs = "[{name: shop, port: 8080, weight: 9}, {name: shop, port: 8080, weight: 0}, {name: gone, port: 1}]"
    shop.apply(http_route(f"- backendRefs: {refs}"))
    shares = shop.action().backends
    assert [(one.cluster, one.weight) for one in shares] == [(SHOP, 9), (SHOP, 0), (None, 1)]
    assert shares[2].reason == "Service default/gone is not there"
    assert str(shares[0].origin) == "HTTPRoute default/route spec.rules[0].backendRefs[0]"


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("{}", "spec.rules[0]"),
        ("{backendRefs: [{name: shop, port: 8080, weight: 0}]}", "spec.rules[0].backendRefs"),
    ],
)
def test_rules_without_traffic(rule: str, path: str, shop: Any, http_route: Any) -> None:
    shop.apply(http_route(f"- {rule}"))
    assert not any(one.weight for one in shop.action().backends)
    assert shop.findings() == [f"DRG1306 {path}"]
    assert shop.conditions("HTTPRoute", "route")["Accepted"] == "True Accepted"


def test_header_modifiers_of_backends(shop: Any, http_route: Any) -> None:
    refs = """
  - {name: shop, port: 8080, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [a]}}]}
  - {name: shop, port: 8080, filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {remove: [b]}}]}
"""
    shop.apply(http_route(f"- backendRefs:{refs}"))
    first, second = shop.action().backends
    assert first.request_headers == ir.HeaderMutation(remove=("a",))
    assert second.response_headers == ir.HeaderMutation(remove=("b",))


REWRITE = "filters: [{type: URLRewrite, urlRewrite: {hostname: b.example}}]"


def test_other_filters_of_an_only_backend_move_to_the_rule(shop: Any, http_route: Any) -> None:
    refs = f"[{{name: shop, port: 8080, {REWRITE}}}, {{name: shop, port: 8080, weight: 0, {REWRITE}}}]"
    shop.apply(http_route(f"- backendRefs: {refs}"))
    assert shop.action().hostname == "b.example"
    assert shop.findings() == []


def test_other_filters_of_one_of_several_backends(shop: Any, http_route: Any) -> None:
    shop.apply(
        http_route(f"- backendRefs: [{{name: shop, port: 8080, {REWRITE}}}, {{name: shop, port: 8080}}]")
    )
    first, second = shop.routes().routes
    assert (first.name, second.name) == ("HTTPRoute/default/route/#0/0/0", "HTTPRoute/default/route/#0/0/1")
    assert (first.match.share, second.match.share) == (500_000, 0)
    assert (first.action.hostname, second.action.hostname) == ("b.example", "")
    assert first.order < second.order
    assert shop.findings() == []


@pytest.mark.parametrize(
    ("weights", "shares"),
    [((1, 1, 1), [333_333, 666_666, 0]), ((3, 0, 1), [750_000, 0]), ((1, 1_000_000), [1, 0]), ((0, 7), [0])],
)
def test_shares_of_backends_with_filters(
    weights: tuple[int, ...], shares: list[int], shop: Any, http_route: Any
) -> None:
    refs = ", ".join(f"{{name: shop, port: 8080, weight: {w}, {REWRITE}}}" for w in weights)
    shop.apply(http_route(f"- backendRefs: [{refs}]"))
    assert [route.match.share for route in shop.routes().routes] == shares


def test_what_is_wrong_with_one_share_spares_the_others(shop: Any, http_route: Any) -> None:
    redirect = "{type: RequestRedirect, requestRedirect: {scheme: https}}"
    bad = "{type: ExtensionRef, extensionRef: {group: a, kind: B, name: c}}"
    refs = [f"{{name: shop, port: 8080, filters: [{one}]}}" for one in (redirect, bad)]
    shop.apply(http_route(f"- backendRefs: [{refs[0]}, {refs[1]}, {{name: gone, port: 8080}}]"))
    first, second, third = (route.action for route in shop.routes().routes)
    assert first == ir.Redirect(302, "https")
    assert second == ir.Respond(500)
    assert third.backends[0].cluster is None
    assert shop.findings() == [
        "DRG1305 spec.rules[0].backendRefs[1].filters[0].extensionRef",
        "DRG2003 spec.rules[0].backendRefs[2].name",
    ]


def test_the_same_filter_on_rule_and_backend(shop: Any, http_route: Any) -> None:
    shop.apply(http_route(f"- {REWRITE}\n  backendRefs: [{{name: shop, port: 8080, {REWRITE}}}]"))
    assert shop.findings() == ["DRG1302 spec.rules[0].backendRefs[0].filters[0]"]


# --- timing and sessions ----------------------------------------------------------------------------------


def test_timeouts_and_retries(shop: Any, http_route: Any) -> None:
    rule = """
- timeouts: {request: 1m30s, backendRequest: 250ms}
  retry: {codes: [503, 500], attempts: 3, backoff: 100ms}
  backendRefs: [{name: shop, port: 8080}]
- timeouts: {request: 0s}
  retry: {}
  backendRefs: [{name: shop, port: 8080}]
"""
    shop.apply(http_route(rule))
    first, second = shop.action(index=0), shop.action(index=1)
    assert (first.timeout, first.try_timeout, first.retry) == (90.0, 0.25, ir.Retry(3, (500, 503), 0.1))
    assert (second.timeout, second.try_timeout, second.retry) == (0.0, None, ir.Retry())
    assert shop.findings() == ["DRG3002 spec.rules[0].retry.backoff"]
    assert shop.finding("DRG3002").severity is Severity.INFO


def session(text: str, match: str = "{path: {value: /cart}}") -> str:
    return f"- matches: [{match}]\n  sessionPersistence: {text}\n  backendRefs: [{{name: shop, port: 8080}}]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{sessionName: s}", ir.SessionPersistence(ir.SessionKind.COOKIE, "s", 0.0, "/cart")),
        ("{sessionName: s, type: Header}", ir.SessionPersistence(ir.SessionKind.HEADER, "s")),
        (
            "{sessionName: s, absoluteTimeout: 1h, cookieConfig: {lifetimeType: Permanent}}",
            ir.SessionPersistence(ir.SessionKind.COOKIE, "s", 3600.0, "/cart"),
        ),
    ],
)
def test_sessions(text: str, expected: ir.SessionPersistence, shop: Any, http_route: Any) -> None:
    shop.apply(http_route(session(text)))
    assert shop.action().session == expected
    assert shop.findings() == []


@pytest.mark.parametrize(
    ("match", "path"),
    [
        ("{path: {value: /cart/}}", "/cart"),
        ("{path: {type: Exact, value: /cart/}}", "/cart/"),
        ("{path: {type: RegularExpression, value: /c.*}}", "/"),
        ("{path: {value: /}}", "/"),
    ],
)
def test_the_path_of_a_sessions_cookie(match: str, path: str, shop: Any, http_route: Any) -> None:
    """The prefix `/cart/` matches `/cart`, where a cookie for `/cart/` would not go."""
    shop.apply(http_route(session("{sessionName: s}", match)))
    assert shop.action().session.path == path


def test_session_names_differ_by_rule(shop: Any, http_route: Any) -> None:
    shop.apply(http_route(session("{}") + "\n" + session("{}")))
    first, second = shop.action(index=0).session, shop.action(index=1).session
    assert first.name.startswith("dragoman-")
    assert first.name != second.name


def test_session_names_that_are_none(shop: Any, http_route: Any) -> None:
    shop.apply(http_route(session("{sessionName: 'a;b'}")))
    assert shop.action().session.name.startswith("dragoman-")
    assert shop.findings() == ["DRG3002 spec.rules[0].sessionPersistence.sessionName"]


def test_more_attempts_than_envoy_can_count(shop: Any, http_route: Any) -> None:
    shop.apply(http_route("- {retry: {attempts: 99999999999}, backendRefs: [{name: shop, port: 8080}]}"))
    assert shop.action().retry == ir.Retry(2**32 - 1)


@pytest.mark.parametrize(
    ("kind", "weight", "told"), [("Header", 1, True), ("Header", 0, False), ("Cookie", 1, False)]
)
def test_sessions_by_header_over_several_backends(
    kind: str, weight: int, told: bool, shop: Any, http_route: Any
) -> None:
    """Envoy chooses the backend before it looks at the header."""
    backends = f"[{{name: shop, port: 8080}}, {{name: shop, port: 8080, weight: {weight}}}]"
    rule = f"- sessionPersistence: {{sessionName: s, type: {kind}}}\n  backendRefs: {backends}"
    shop.apply(http_route(rule))
    assert shop.findings() == (["DRG3002 spec.rules[0].sessionPersistence.type"] if told else [])


def test_session_timeout_that_is_not_enforced(shop: Any, http_route: Any) -> None:
    shop.apply(http_route(session("{absoluteTimeout: 1h}")))
    assert shop.action().session.ttl == 0.0
    assert shop.findings() == ["DRG3002 spec.rules[0].sessionPersistence.absoluteTimeout"]
