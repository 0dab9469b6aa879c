"""Explanations of gRPC calls, and of connections and datagrams that are not looked into."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dragoman import explain
from dragoman.ir import model as ir
from dragoman.refs import Ref
from tests.unit.ir.build import View, forward, route, view

UP = ir.Endpoint("10.0.0.1", 8080)
DOWN = ir.Endpoint("10.0.0.3", 8080, health=ir.Health.UNHEALTHY)


def ask(world: View, url: str, method: str = "GET", content_type: str | None = None) -> explain.Explanation:
    pairs = [("content-type", content_type)] if content_type is not None else []
    return explain.explain_request(world, explain.parse(method, url, pairs))


# --- gRPC -------------------------------------------------------------------------------------------------


GRPC = "application/grpc"


def grpc_world() -> View:
    call = route(
        "GRPCRoute/shop/cart/#0/0", ir.ExactPath("/shop.Cart/Add"), replace(forward("a"), failure=503)
    )
    call = replace(call, match=replace(call.match, grpc=True))
    return view({"*": [call, route("HTTPRoute/shop/site/#0/0", "/", forward("b"))]}, {"a": [UP], "b": [UP]})


@pytest.mark.parametrize(
    ("content_type", "won"),
    [
        (GRPC, "GRPCRoute/shop/cart/#0/0"),
        (f"{GRPC}+proto", "GRPCRoute/shop/cart/#0/0"),
        (f"{GRPC}-web", "HTTPRoute/shop/site/#0/0"),
        ("application/json", "HTTPRoute/shop/site/#0/0"),
    ],
)
def test_the_content_type_tells_grpc(content_type: str, won: str) -> None:
    answer = ask(grpc_world(), "http://a.test/shop.Cart/Add", "POST", content_type=content_type)
    assert answer.data["route"]["name"] == won
    candidate = answer.data["candidates"][0]
    assert candidate["match"] == "gRPC exactly `/shop.Cart/Add`"
    assert candidate["won"] is (won == candidate["route"])


def test_why_it_is_no_grpc() -> None:
    answer = ask(grpc_world(), "http://a.test/shop.Cart/Add", "POST")
    assert answer.data["candidates"][0]["failure"] == {
        "condition": "header",
        "name": "content-type",
        "wanted": "`application/grpc`",
        "found": None,
    }


def test_a_share_without_a_backend_is_unavailable_to_grpc() -> None:
    action = ir.Forward((ir.WeightedBackend(None, reason="gone"), *forward("a").backends), failure=503)
    answer = ask(view({"*": [route("it", "/", action)]}, {"a": [UP]}), "http://a.test/")
    assert answer.data["action"]["clusters"][0]["status"] == 503
    assert "  backend       50% answered with 503: gone" in answer.lines()
    alone = replace(action, backends=action.backends[:1])
    assert ask(view({"*": [route("it", "/", alone)]}), "http://a.test/").data["status"] == 503


# --- connections and datagrams ----------------------------------------------------------------------------


def stream_world() -> View:
    """TCP on 5432, UDP on 53; on 443 TLS passed through for a.test, ended for b.test, HTTPS for c.test."""
    db = ir.Stream("TCPRoute/shop/db", (*forward(("a", 3)).backends, ir.WeightedBackend(None, reason="gone")))
    names = ir.Stream("UDPRoute/shop/names", forward("a").backends)
    tcp, udp, tls = ir.Bind("127.0.0.1", 5432), ir.Bind("127.0.0.1", 53, udp=True), ir.Bind("127.0.0.1", 443)
    termination = ir.TlsTermination((ir.SecretKey(Ref("", "Secret", "shop", "cert")),), ())
    world = view({}, {"a": [UP, DOWN]})
    passed = ir.Stream("TLSRoute/shop/passed", forward("a").backends, passthrough=True)
    ended = ir.Stream("TLSRoute/shop/ended", forward("a").backends)
    world.listeners = {
        tcp: ir.Listener(tcp, (ir.FilterChain("", None, ir.Scope(tcp), stream=db),)),
        udp: ir.Listener(udp, (ir.FilterChain("", None, ir.Scope(udp), stream=names),)),
        tls: ir.Listener(
            tls,
            (
                ir.FilterChain("a.test", None, ir.Scope(tls, "a.test"), stream=passed),
                ir.FilterChain("b.test", termination, ir.Scope(tls, "b.test"), stream=ended),
                ir.FilterChain("c.test", termination, ir.Scope(tls, "c.test")),
            ),
        ),
    }
    return world


@pytest.mark.parametrize(
    ("url", "shown", "won"),
    [
        ("tcp://127.0.0.1:5432", "tcp://127.0.0.1:5432", "TCPRoute/shop/db"),
        ("udp://127.0.0.1:53", "udp://127.0.0.1:53", "UDPRoute/shop/names"),
        ("tls://a.test", "tls://a.test", "TLSRoute/shop/passed"),
        ("tls://b.test:443", "tls://b.test:443", "TLSRoute/shop/ended"),
        ("https://a.test/x", "tls://a.test", "TLSRoute/shop/passed"),
    ],
)
def test_connections_are_not_looked_into(url: str, shown: str, won: str) -> None:
    answer = ask(stream_world(), url)
    json.dumps(answer.data)
    assert answer.data["request"] == shown
    assert answer.data["action"]["kind"] == "stream"
    assert answer.data["action"]["route"] == won
    assert f"  outcome       passed on by {won}, not looked into" in answer.lines()


def test_shares_of_connections() -> None:
    lines = ask(stream_world(), "tcp://127.0.0.1:5432").lines()
    assert "  backend       75% Service/shop/a/80  1 of 2 endpoints ready" in lines
    assert "  backend       25% closed: gone" in lines


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:53", "udp://127.0.0.1:5432", "tcp://127.0.0.1:1"])
def test_ports_of_tcp_and_udp_are_not_the_same(url: str) -> None:
    assert "action" not in ask(stream_world(), url).data


def test_a_server_name_that_nobody_has() -> None:
    answer = ask(stream_world(), "tls://d.test:443")
    assert "action" not in answer.data
    assert any("d.test" in note for note in answer.data["notes"])


def test_no_route_for_a_port() -> None:
    world = stream_world()
    bind = ir.Bind("127.0.0.1", 9)
    chain = ir.FilterChain("", None, ir.Scope(bind), stream=ir.Stream("", ()))
    world.listeners[bind] = ir.Listener(bind, (chain,))
    assert ask(world, "tcp://127.0.0.1:9").lines()[-1].startswith("  outcome       closed at once: no route")
