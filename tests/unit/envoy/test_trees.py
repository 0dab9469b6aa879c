"""Trees of routes: whatever a list finds first, they find."""

from __future__ import annotations

from hypothesis import given, strategies as st

from dragoman.envoy import routes, trees
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.route import v3 as route_proto
from tests.unit.envoy.build import PLAIN, forward, route

SEGMENTS = st.sampled_from(["a", "b", "ab", "abc", ""])
PATHS = st.lists(SEGMENTS, max_size=4).map(lambda found: "/" + "/".join(found))
MATCHES = st.one_of(
    PATHS.map(ir.SegmentPrefix),
    PATHS.map(ir.ExactPath),
    PATHS.map(ir.StringPrefix),
    st.just(ir.RegexPath("/a.*")),
)


def matches(path: ir.PathMatch, asked: str) -> bool:
    match path:
        case ir.ExactPath(value):
            return asked == value
        case ir.StringPrefix(value):
            return asked.startswith(value)
        case ir.SegmentPrefix(value):
            stem = value.rstrip("/")
            return not stem or asked == stem or asked.startswith(f"{stem}/")
        case ir.RegexPath():
            return asked.startswith("/a")


@given(st.lists(MATCHES, max_size=12), PATHS)
def test_the_list_of_the_longest_key_has_what_all_have(paths: list[ir.PathMatch], asked: str) -> None:
    lists = trees._lists(tuple(trees.stem(path) for path in paths))
    if lists is None:
        return
    everywhere = [at for at, path in enumerate(paths) if trees.stem(path) is None]
    keys = [key for key in lists if asked.startswith(key)]
    found = lists[max(keys, key=len)] if keys else everywhere
    assert found == sorted(set(found))
    first = next((at for at, path in enumerate(paths) if matches(path, asked)), None)
    assert next((at for at in found if matches(paths[at], asked)), None) == first


def host(count: int, *more: ir.PathMatch) -> route_proto.VirtualHost:
    made = [ir.SegmentPrefix(f"/p{number}") for number in range(count)]
    encoded = [
        routes.encode_route(route(forward(), match=ir.RouteMatch(path), name=f"n{at}"))
        for at, path in enumerate([*made, *more])
    ]
    chunk = routes.encode_virtual_host(PLAIN, "a.test", encoded, False).chunk
    return route_proto.RouteConfiguration.FromString(chunk).virtual_hosts[0]


def test_small_hosts_are_lists() -> None:
    made = host(trees.LEAST - 1)
    assert len(made.routes) == trees.LEAST - 1
    assert not made.HasField("matcher")


def test_large_hosts_are_trees() -> None:
    made = host(trees.LEAST, ir.SegmentPrefix("/"))
    assert not made.routes
    lists = made.matcher.matcher_tree.prefix_match_map.map
    assert len(lists) == trees.LEAST + 1
    listed = route_proto.RouteList.FromString(lists["/p7"].action.typed_config.value).routes
    assert [each.name for each in listed] == ["n7", f"n{trees.LEAST}"]
    names = {each.name for each in trees.routes_of(made)}
    assert names == {f"n{at}" for at in range(trees.LEAST + 1)}


def test_many_that_match_everywhere_stay_a_list() -> None:
    made = host(trees.LEAST, *(ir.RegexPath(f"/x{number}") for number in range(10)))
    assert len(made.routes) == trees.LEAST + 10
