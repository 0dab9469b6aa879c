"""What a change does to gRPC calls, and to connections and datagrams that are not looked into."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dragoman import difference
from dragoman.ir import model as ir
from dragoman.refs import Ref
from tests.unit.ir.build import BIND, CERTIFICATE, TLS_BIND, View, forward, route, view


def told(before: View, after: View) -> list[str]:
    return [str(change) for change in difference.behaviour(before, after)]


def grpc(name: str, path: ir.PathMatch, action: ir.Action) -> ir.Route:
    made = route(name, path, action)
    return replace(made, match=replace(made.match, grpc=True))


def test_grpc_calls_are_sampled_as_such() -> None:
    before = view({"*": [grpc("it", ir.ExactPath("/a.B/C"), forward("a"))]})
    after = view({"*": [grpc("it", ir.ExactPath("/a.B/C"), forward("b"))]})
    call = "POST http://any.invalid/a.B/C [content-type: application/grpc]"
    assert told(before, after) == [f"request {call}: Service/shop/a/80 → Service/shop/b/80"]


def streams(bind: ir.Bind, *chains: ir.FilterChain) -> View:
    world = view({})
    world.listeners = {bind: ir.Listener(bind, chains)}
    return world


def to(*names: str | tuple[str, int], passthrough: bool = False) -> ir.Stream:
    return ir.Stream("route", forward(*names).backends, passthrough)


UDP_BIND = BIND._replace(udp=True)


@pytest.mark.parametrize(("bind", "spoken"), [(BIND, "TCP"), (UDP_BIND, "UDP")])
def test_ports_of_connections_open_close_and_move(bind: ir.Bind, spoken: str) -> None:
    one, two = (
        streams(bind, ir.FilterChain("", None, ir.Scope(bind), stream=stream))
        for stream in (to("a"), to(("a", 9), ("b", 1)))
    )
    nothing = view({})
    nothing.listeners = {}
    name = "127.0.0.1:80/udp" if bind.udp else "127.0.0.1:80"
    assert told(nothing, one) == [f"listener {name}: opens for {spoken}"]
    assert told(one, nothing) == [f"listener {name}: closes for {spoken}"]
    assert told(one, two) == [
        f"listener {name}: server name (any): Service/shop/a/80 1 → Service/shop/a/80 9, Service/shop/b/80 1"
    ]


def test_server_names_come_and_go() -> None:
    one = ir.FilterChain("a.test", None, ir.Scope(TLS_BIND, "a.test"), stream=to("a", passthrough=True))
    two = ir.FilterChain("b.test", None, ir.Scope(TLS_BIND, "b.test"), stream=to("a", passthrough=True))
    assert told(streams(TLS_BIND, one), streams(TLS_BIND, one, two)) == [
        "listener 127.0.0.1:443: server name b.test: added"
    ]


def test_clients_are_asked_for_certificates() -> None:
    authority = ir.SecretKey(Ref("gateway.networking.k8s.io", "Gateway", "shop", "edge"), "ca")
    worlds = []
    for clients in (None, ir.ClientValidation(authority), ir.ClientValidation(authority, optional=True)):
        terms = ir.TlsTermination((CERTIFICATE,), clients=clients)
        worlds.append(streams(TLS_BIND, ir.FilterChain("", terms, ir.Scope(TLS_BIND, "*"))))
    plain, checked, asked = worlds
    start = "listener 127.0.0.1:443: server name (any): clients"
    must = "must have a certificate of Gateway/shop/edge/ca"
    assert told(plain, checked) == [f"{start} unchecked → {must}"]
    assert told(checked, asked) == [f"{start} {must} → asked for a certificate of Gateway/shop/edge/ca"]
