"""Cases of routes as Envoy gets them: copies that nothing finds but what the filter writes."""

from __future__ import annotations

from dataclasses import replace

from dragoman import proto
from dragoman.envoy import cases, routes, trees
from dragoman.envoy.filters import cases as filters, chain
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.route import v3 as route_proto
from tests.unit.envoy.build import PLAIN, cluster, forward, route

JWT = ir.Jwt((ir.JwtProvider("https://issuer.example", (), "{}"),))
GOLD = ir.Case((ir.Claim(("tier",), ("gold",)),), (ir.WeightedBackend(cluster("gold")),))


def shop(
    action: ir.Forward | None = None, name: str = "HTTPRoute/shop/cart/#0/0", path: str = "/a"
) -> ir.Route:
    matched = ir.RouteMatch(
        ir.SegmentPrefix(path), method="POST", headers=(ir.HeaderMatch("authorization", ir.Present()),)
    )
    given = action or forward("v1", cases=(GOLD,), timeout=3.0)
    return replace(route(given, match=matched, name=name), auth=ir.Auth(JWT))


def host(*items: ir.Route) -> route_proto.VirtualHost:
    made = routes.encode_virtual_host(PLAIN, "*", [routes.encode_route(one) for one in items], False)
    table = route_proto.RouteConfiguration.FromString(made.chunk)
    return table.virtual_hosts[0]


def test_a_copy_differs_in_its_backends_and_match_alone() -> None:
    copy, plain = host(shop()).routes
    assert (copy.route.cluster, plain.route.cluster) == ("Service/shop/gold/8080", "Service/shop/v1/8080")
    assert copy.match.path_separated_prefix == "/a"
    assert not copy.match.headers
    (wanted,) = copy.match.dynamic_metadata
    assert wanted.filter == filters.NAME
    assert wanted.value.string_match.exact == f"{filters.rule(shop())}/1"
    for each in (copy, plain):
        each.ClearField("match")
        each.route.ClearField("cluster")
    copy.ClearField("metadata")
    assert proto.to_dict(copy) == proto.to_dict(plain)


def test_copies_come_before_all_routes() -> None:
    """Also in a tree."""
    other = route(forward("v2"), ir.ExactPath("/a"), name="HTTPRoute/shop/other/#0/0")
    named = [each.name for each in host(other, shop()).routes]
    assert named == ["HTTPRoute/shop/cart/#0/0", other.name, "HTTPRoute/shop/cart/#0/0"]
    crowd = [route(forward("v2"), ir.SegmentPrefix(f"/p{n}")) for n in range(trees.LEAST)]
    tree = host(other, shop(), *crowd).matcher.matcher_tree.prefix_match_map.map
    listed = route_proto.RouteList.FromString(tree["/a"].action.typed_config.value).routes
    assert [each.name for each in listed] == named


def test_another_routes_copies_have_another_name() -> None:
    """Another route, another thing that is asked, other claims: another name. Other backends: the same."""
    given = shop()
    stronger = replace(given, auth=ir.Auth(JWT, rules=ir.AuthRules((ir.AuthRule(methods=("GET",)),))))
    silver = replace(GOLD, claims=(ir.Claim(("tier",), ("silver",)),))
    others = [stronger, shop(name="HTTPRoute/shop/cart/#1/0"), shop(forward("v1", cases=(silver,)))]
    assert len({filters.rule(one) for one in (given, *others)}) == 4
    moved = shop(forward("v3", cases=(replace(GOLD, backends=(ir.WeightedBackend(cluster("v4")),)),)))
    assert filters.rule(moved) == filters.rule(given)


def test_clusters_of_cases_are_known_and_answers_where_there_is_none() -> None:
    nowhere = replace(GOLD, backends=(ir.WeightedBackend(None, reason="gone"),))
    given = shop(forward("v1", cases=(GOLD, nowhere)))
    encoded = routes.encode_route(given)
    assert set(encoded.clusters) == {"Service/shop/gold/8080", "Service/shop/v1/8080"}
    assert set(given.clusters()) == {cluster("gold"), cluster("v1")}
    copies = host(given).routes[:2]
    assert copies[1].direct_response.status == 500
    assert copies[0].match.dynamic_metadata != copies[1].match.dynamic_metadata


def test_a_cached_route_has_no_cases() -> None:
    given = replace(shop(), cache=ir.Cache(shared=True), match=ir.RouteMatch(ir.SegmentPrefix("/a")))
    assert len(host(given).routes) == 2
    assert (
        cases.copy(route_proto.Route(), given, 4)
        .match.dynamic_metadata[0]
        .value.string_match.exact.endswith("/5")
    )


def test_the_filter_wakes_for_routes_with_cases_alone() -> None:
    assert filters.FILTER.per_route(shop(forward("v1"))) is None
    assert filters.FILTER.per_route(replace(shop(), action=ir.Respond(404))) is None
    assert filters.FILTER.per_route(shop()) is not None
    names = [each.name for each in chain.FILTERS]
    for before in ("envoy.filters.http.jwt_authn", "dragoman.tokens", "envoy.filters.http.rbac"):
        assert names.index(before) < names.index(filters.NAME)
    assert names.index(filters.NAME) < names.index("dragoman.cache")
