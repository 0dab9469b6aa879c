"""Framing agrees with protobuf's own."""

from __future__ import annotations

from hypothesis import given, strategies as st

from dragoman.envoy import framing
from dragoman.proto.envoy.config.route import v3 as route_proto


@given(st.lists(st.integers(0, 40_000), max_size=4))
def test_framed_routes_are_the_hosts_routes(sizes: list[int]) -> None:
    made = [route_proto.Route(name="x" * size) for size in sizes]
    before = framing.tag("envoy.config.route.v3.VirtualHost", "routes")
    joined = b"".join(framing.frame(before, each.SerializeToString()) for each in made)
    assert joined == route_proto.VirtualHost(routes=made).SerializeToString()
