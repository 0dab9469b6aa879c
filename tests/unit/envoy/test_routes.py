"""Routes and virtual hosts: each feature of the IR in Envoy's words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dragoman import proto
from dragoman.envoy import naming, ratelimits, routes
from dragoman.ir import model as ir, ratelimit
from dragoman.proto.envoy.config.route import v3 as route_proto
from tests.unit.envoy.build import PLAIN, ROOT, cluster, envoy_route, envoy_routes, forward, route

V1 = "Service/shop/v1/8080"
TLS = ir.Scope(ir.Bind("127.0.0.1", 8443), "shop.example")


def test_a_plain_route() -> None:
    assert envoy_route(route(forward())) == {
        "name": "HTTPRoute/shop/cart/#0/0",
        "match": {"prefix": "/"},
        "route": {"cluster": V1, "timeout": "0s"},
    }


@pytest.mark.parametrize(
    ("path", "written"),
    [
        (ir.SegmentPrefix("/a"), {"path_separated_prefix": "/a"}),
        (ir.SegmentPrefix("/a/"), {"path_separated_prefix": "/a"}),
        (ir.SegmentPrefix("/"), {"prefix": "/"}),
        (ir.StringPrefix("/a"), {"prefix": "/a"}),
        (ir.ExactPath("/a/"), {"path": "/a/"}),
        (ir.RegexPath("/a[0-9]+"), {"safe_regex": {"regex": "/a[0-9]+"}}),
    ],
)
def test_paths(path: ir.PathMatch, written: dict[str, Any]) -> None:
    assert envoy_route(route(forward(), path))["match"] == written


def test_conditions() -> None:
    match = ir.RouteMatch(
        ROOT,
        "POST",
        (
            ir.HeaderMatch("x-a", ir.Exact("1")),
            ir.HeaderMatch("x-b", ir.Regex("a.c"), invert=True),
            ir.HeaderMatch("x-c", ir.Present()),
            ir.HeaderMatch("host", ir.Exact("h")),
        ),
        (
            ir.QueryMatch("q", ir.Exact("1")),
            ir.QueryMatch("r", ir.Regex("x+")),
            ir.QueryMatch("s", ir.Present()),
        ),
    )
    assert envoy_route(route(forward(), match=match))["match"] == {
        "prefix": "/",
        "headers": [
            {"name": ":method", "string_match": {"exact": "POST"}},
            {"name": "x-a", "string_match": {"exact": "1"}},
            {
                "name": "x-b",
                "string_match": {"safe_regex": {"regex": "a.c"}},
                "invert_match": True,
                "treat_missing_header_as_empty": True,
            },
            {"name": "x-c", "present_match": True},
            {"name": ":authority", "string_match": {"exact": "h"}},
        ],
        "query_parameters": [
            {"name": "q", "string_match": {"exact": "1"}},
            {"name": "r", "string_match": {"safe_regex": {"regex": "x+"}}},
            {"name": "s", "present_match": True},
        ],
    }


def test_weights_leave_out_zero() -> None:
    shares = tuple(ir.WeightedBackend(cluster(n), w) for n, w in (("a", 9), ("b", 0), ("c", 1)))
    made = envoy_route(route(ir.Forward(shares)))["route"]["weighted_clusters"]
    assert made == {
        "clusters": [
            {"name": "Service/shop/a/8080", "weight": 9},
            {"name": "Service/shop/c/8080", "weight": 1},
        ]
    }


def test_an_invalid_share_leads_nowhere() -> None:
    shares = (ir.WeightedBackend(cluster("a"), 1), ir.WeightedBackend(None, 3))
    encoded = routes.encode_route(route(ir.Forward(shares)))
    made = envoy_route(route(ir.Forward(shares)))["route"]
    assert made["cluster_not_found_response_code"] == "INTERNAL_SERVER_ERROR"
    nowhere = made["weighted_clusters"]["clusters"][1]
    assert (nowhere["name"], nowhere["weight"]) == (naming.INVALID_CLUSTER, 3)
    asks = nowhere["typed_per_filter_config"]["envoy.filters.http.on_demand"]
    assert "odcds" not in asks, "nobody asks for it"
    assert set(encoded.clusters) == {"Service/shop/a/8080"}


@pytest.mark.parametrize(
    "shares",
    [
        (),
        (ir.WeightedBackend(None),),
        (ir.WeightedBackend(cluster(), 0),),
        (ir.WeightedBackend(cluster(), 0), ir.WeightedBackend(None, 1)),
    ],
)
def test_nowhere_to_go_is_500(shares: tuple[ir.WeightedBackend, ...]) -> None:
    item = route(ir.Forward(shares), response_headers=ir.HeaderMutation((("x", "y"),)))
    made = envoy_route(item)
    assert made["direct_response"] == {"status": 500}
    assert "route" not in made
    assert made["response_headers_to_add"][0]["header"] == {"key": "x", "value": "y"}
    assert set(routes.encode_route(item).clusters) == set()


def test_header_changes() -> None:
    change = ir.HeaderMutation(
        (("X-Set", "50%"), ("Host", "no"), (":path", "no")), (("X-Add", ""),), ("X-Gone", "host")
    )
    made = envoy_route(route(forward(), request_headers=change, response_headers=change))
    for side in ("request", "response"):
        assert made[f"{side}_headers_to_add"] == [
            {"header": {"key": "X-Set", "value": "50%%"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"},
            {"header": {"key": "X-Add"}, "keep_empty_value": True},
        ]
        assert made[f"{side}_headers_to_remove"] == ["X-Gone"]


def test_a_backends_header_changes_come_after_its_rules() -> None:
    rule = ir.HeaderMutation((("a", "rule"), ("b", "rule")), (("c", "rule"),))
    share = ir.HeaderMutation((("a", "share"),), remove=("B",))
    alone = ir.Forward((ir.WeightedBackend(cluster(), 1, share),))
    made = envoy_route(route(alone, request_headers=rule))
    assert made["route"]["cluster"] == V1
    written = [(each["header"]["key"], each["header"]["value"]) for each in made["request_headers_to_add"]]
    assert written == [("a", "rule"), ("c", "rule"), ("a", "share")]
    assert made["request_headers_to_remove"] == ["B"]

    both = ir.Forward((ir.WeightedBackend(cluster(), 1, share), ir.WeightedBackend(cluster("b"))))
    made = envoy_route(route(both, request_headers=rule, response_headers=rule))
    assert "request_headers_to_add" not in made
    assert len(made["response_headers_to_add"]) == 3
    one, other = made["route"]["weighted_clusters"]["clusters"]
    assert [each["header"]["value"] for each in one["request_headers_to_add"]] == ["rule", "rule", "share"]
    assert [each["header"]["value"] for each in other["request_headers_to_add"]] == ["rule"] * 3


@pytest.mark.parametrize(
    ("action", "written"),
    [
        (forward(timeout=0.5), {"timeout": "0.500s"}),
        (forward(timeout=0), {"timeout": "0s", "idle_timeout": "0s"}),
        (forward(timeout=600), {"timeout": "600s", "idle_timeout": "600s"}),
        (forward(try_timeout=2), {"timeout": "2s"}),
        (forward(timeout=1, try_timeout=2), {"timeout": "1s"}),
        (forward(timeout=5, try_timeout=2), {"timeout": "2s"}),
        (forward(try_timeout=0), {"timeout": "0s", "idle_timeout": "0s"}),
        (forward(timeout=5, try_timeout=0), {"timeout": "5s"}),
    ],
)
def test_timeouts(action: ir.Forward, written: dict[str, Any]) -> None:
    assert envoy_route(route(action))["route"] == {"cluster": V1, **written}


@pytest.mark.parametrize(("limit", "idle"), [(600.0, "0s"), (200.0, "0s"), (100.0, None)])
def test_long_tries_are_not_cut_off(limit: float, idle: str | None) -> None:
    """The limit of idle streams, 300 s, must not end the second of two."""
    made = envoy_route(route(forward(try_timeout=limit, retry=ir.Retry(1))))["route"]
    assert (made["timeout"], made.get("idle_timeout")) == ("0s", idle)
    assert made["retry_policy"]["per_try_timeout"] == f"{limit:g}s"


def test_retries() -> None:
    retry = ir.Retry(3, (500, 503), 0.1)
    whole = envoy_route(route(forward(timeout=9, try_timeout=1, retry=retry)))
    assert whole["request_body_buffer_limit"] == str(1024 * 1024)
    made = whole["route"]
    predicate = made["retry_policy"].pop("retry_host_predicate")
    assert predicate[0]["name"] == "envoy.retry_host_predicates.previous_hosts"
    assert made == {
        "cluster": V1,
        "timeout": "9s",
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream,reset,retriable-status-codes",
            "retriable_status_codes": [500, 503],
            "num_retries": 3,
            "per_try_timeout": "1s",
            "retry_back_off": {"base_interval": "0.100s", "max_interval": "1s"},
            "host_selection_retry_max_attempts": "10",
        },
    }


def test_no_attempts_no_retry() -> None:
    made = envoy_route(route(forward(retry=ir.Retry(0, (500,)), try_timeout=1)))["route"]
    assert made == {"cluster": V1, "timeout": "1s"}


@pytest.mark.parametrize(
    ("numerator", "denominator", "written"),
    [
        (100, 100, None),
        (20, 100, {"numerator": 20}),
        (1, 2, {"numerator": 50}),
        (1, 1000, {"numerator": 10, "denominator": "TEN_THOUSAND"}),
        (1, 3, {"numerator": 333333, "denominator": "MILLION"}),
        (1, 10**9, {"numerator": 1, "denominator": "MILLION"}),
    ],
)
def test_mirrors(numerator: int, denominator: int, written: dict[str, Any] | None) -> None:
    mirror = ir.Mirror(cluster("m"), numerator, denominator)
    item = route(forward(mirrors=(mirror, ir.Mirror(cluster("never"), 0))))
    (made,) = envoy_route(item)["route"]["request_mirror_policies"]
    assert made.pop("cluster") == "Service/shop/m/8080"
    assert made.pop("disable_shadow_host_suffix_append") is True
    assert made == ({} if written is None else {"runtime_fraction": {"default_value": written}})
    assert set(routes.encode_route(item).clusters) == {V1, "Service/shop/m/8080"}


def test_websockets_can_be_refused() -> None:
    made = envoy_route(route(forward(websocket=False, hostname="other")))["route"]
    assert made["upgrade_configs"] == [{"upgrade_type": "websocket", "enabled": False}]
    assert made["host_rewrite_literal"] == "other"


@pytest.mark.parametrize("port", [None, 0])
def test_a_redirect_without_port(port: int | None) -> None:
    made = envoy_route(route(ir.Redirect(301, "https", "h", port)))["redirect"]
    assert made == {"scheme_redirect": "https", "host_redirect": "h"}


def test_a_redirect() -> None:
    item = route(ir.Redirect(308, "https", "h", 8443, ir.ReplaceFullPath("/x")))
    assert envoy_route(item)["redirect"] == {
        "response_code": "PERMANENT_REDIRECT",
        "scheme_redirect": "https",
        "host_redirect": "h",
        "port_redirect": 8443,
        "path_redirect": "/x",
    }


def test_a_direct_answer() -> None:
    made = envoy_route(route(ir.Respond(418, "no coffee")))
    assert made["direct_response"] == {"status": 418, "body": {"inline_string": "no coffee"}}


def test_sessions_over_several_backends_are_pinned() -> None:
    session = ir.SessionPersistence(ir.SessionKind.COOKIE, "sid", 60.0, "/p")
    shares = (
        ir.WeightedBackend(cluster("a"), 9),
        ir.WeightedBackend(cluster("b"), 1),
        ir.WeightedBackend(None),
    )
    first, second, deal = envoy_routes(route(ir.Forward(shares, session=session)))
    assert [c.name for c in deal.route.weighted_clusters.clusters] == [
        "Service/shop/a/8080",
        "Service/shop/b/8080",
        naming.INVALID_CLUSTER,
    ]
    assert not deal.match.cookies
    for pinned, share in ((first, "a"), (second, "b")):
        (only,) = pinned.route.weighted_clusters.clusters
        assert only.name == f"Service/shop/{share}/8080"
        assert not only.response_headers_to_add
        (cookie,) = pinned.match.cookies
        (dealt,) = [c for c in deal.route.weighted_clusters.clusters if c.name == only.name]
        (option,) = dealt.response_headers_to_add
        assert option.header.key == "set-cookie"
        mark = cookie.string_match.exact
        assert option.header.value == f"sid-backend={mark}; Max-Age=60; Path=/p; HttpOnly"
        assert cookie.name == "sid-backend"


@pytest.mark.parametrize(
    "action",
    [
        forward("a", session=ir.SessionPersistence(ir.SessionKind.COOKIE, "sid")),
        forward("a", "b", session=ir.SessionPersistence(ir.SessionKind.HEADER, "sid")),
    ],
)
def test_other_sessions_need_one_route(action: ir.Forward) -> None:
    (made,) = envoy_routes(route(action))
    assert list(made.typed_per_filter_config) == ["envoy.filters.http.stateful_session"]


def test_bytes_are_the_same_every_time() -> None:
    item = route(forward(), cors=ir.Cors(("*",)), request_headers=ir.HeaderMutation((("a", "b"),)))
    assert routes.encode_route(item) == routes.encode_route(item)


# --- virtual hosts ------------------------------------------------------------------------------------------


def decode(chunk: bytes) -> route_proto.VirtualHost:
    (host,) = route_proto.RouteConfiguration.FromString(chunk).virtual_hosts
    return host


def test_a_virtual_host_joins_its_routes() -> None:
    items = [route(forward(n), name=f"HTTPRoute/shop/{n}/#0/0") for n in ("a", "b")]
    encoded = [routes.encode_route(item) for item in items]
    made = routes.encode_virtual_host(PLAIN, "*.shop.example", encoded, False)
    host = decode(made.chunk)
    assert (host.name, list(host.domains)) == ("*.shop.example", ["*.shop.example"])
    assert [each.name for each in host.routes] == [item.name for item in items]
    assert set(made.clusters) == {"Service/shop/a/8080", "Service/shop/b/8080"}
    assert made == routes.encode_virtual_host(PLAIN, "*.shop.example", encoded, False)
    assert made != routes.encode_virtual_host(PLAIN, "*.shop.example", encoded[::-1], False)


def test_an_empty_host_has_no_routes() -> None:
    assert not decode(routes.encode_virtual_host(PLAIN, "a", [], False).chunk).routes


def test_a_misdirected_host_answers_421() -> None:
    host = decode(routes.encode_virtual_host(TLS, "a", [], True).chunk)
    assert proto.to_dict(host)["routes"] == [
        {"name": "misdirected", "match": {"prefix": "/"}, "direct_response": {"status": 421}}
    ]


def test_the_answer_of_a_counted_route_stands_before_all_others() -> None:
    """It looks at the path and at what the filter has noted; the route itself only asks."""
    limit = ir.RateLimit("p/a", "a", "p", 1, 1.0, ratelimit.Counting.FIXED_WINDOW)
    method = replace(route(ir.Redirect(302, hostname="b"), name="moved"), limits=(limit,))
    method = replace(method, match=replace(method.match, method="PUT"))
    encoded = [routes.encode_route(item) for item in (route(forward("a"), name="first"), method)]
    host = decode(routes.encode_virtual_host(PLAIN, "a", encoded, False).chunk)
    assert [(each.name, each.WhichOneof("action")) for each in host.routes] == [
        ("moved", "redirect"),
        ("first", "route"),
        ("moved", "route"),
    ]
    answer, asked = host.routes[0], host.routes[2]
    assert [(one.key, one.string_match.exact) for one in answer.match.filter_state] == [
        ("dragoman.counted", "moved")
    ]
    assert (len(answer.match.headers), len(asked.match.headers)) == (0, 1)
    assert asked.route.cluster == ratelimits.CLUSTER
    assert ratelimits.CLUSTER in encoded[1].clusters
    assert answer.typed_per_filter_config.keys() == asked.typed_per_filter_config.keys()
    assert not routes.encode_route(replace(method, limits=())).first
