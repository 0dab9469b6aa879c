"""Configurations of discovered filters: made of what routes name, and patient with proxies that follow."""

from __future__ import annotations

from dragoman.envoy import routes
from dragoman.envoy.filters import chain
from dragoman.graph.collection import Graph
from dragoman.graph.pipeline import binds, extensions, placing
from dragoman.ir import model as ir
from dragoman.refs import Ref
from tests.unit.envoy.build import forward, route

NAME = "envoy.filters.http.jwt_authn"
BIND = ir.Bind("127.0.0.1", 80)
HOST = placing.HostKey("*", ir.Scope(BIND), "a.test")


class World:
    """Routes placed on one host of one group."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.chains = self.graph.source("chains")
        self.placed = self.graph.source("placed")
        self.made = extensions.Extensions(self.graph, self.chains, self.placed, self.graph.source("keys"))
        key = binds.NameKey(binds.PortKey("*", BIND), "*")
        self.chains.put(key, ir.FilterChain("", None, ir.Scope(BIND)))
        self.graph.commit()

    def put(self, name: str, issuer: str | None, now: float = 0.0) -> None:
        key = placing.PartKey(HOST, Ref("", "HTTPRoute", "shop", name), 0)
        if issuer is None:
            self.placed.remove(key)
        else:
            self.placed.put(key, placing.Part(made(issuer).order, encoded=routes.encode_route(made(issuer))))
        self.graph.commit()
        if self.made.linger(now):
            self.graph.commit()

    def issuers(self) -> set[str]:
        shown = chain.proto.to_dict(
            chain.core.TypedExtensionConfig.FromString(self.made.resources.get(("*", NAME)).payload)
        )
        return {one["issuer"] for one in shown["typed_config"].get("providers", {}).values()}


def made(issuer: str) -> ir.Route:
    return route(forward(), auth=ir.Auth(ir.Jwt((ir.JwtProvider(issuer, (), "{}"),))))


def test_there_is_one_from_the_start() -> None:
    assert World().issuers() == set()


def test_what_several_routes_ask_is_there_once() -> None:
    world = World()
    world.put("a", "one")
    before = world.made.resources.get(("*", NAME))
    world.put("b", "one")
    assert world.made.resources.get(("*", NAME)) is before
    world.put("b", "two")
    assert world.issuers() == {"one", "two"}


def test_what_no_route_names_any_more_stays_for_a_while() -> None:
    world = World()
    world.put("a", "one")
    world.put("a", None, now=10.0)
    assert world.issuers() == {"one"}
    assert not world.made.expire(10.0 + extensions.LINGER - 1)
    assert world.made.expire(10.0 + extensions.LINGER)
    world.graph.commit()
    assert world.issuers() == set()


def test_what_is_named_again_meanwhile_does_not_go() -> None:
    world = World()
    world.put("a", "one")
    world.put("a", None, now=10.0)
    world.put("a", "one", now=20.0)
    world.made.expire(100.0)
    world.graph.commit()
    assert world.issuers() == {"one"}
