"""Which credentials a route has taken off before its backend."""

from __future__ import annotations

from typing import Any

from dragoman import proto
from dragoman.envoy.filters import spent
from dragoman.ir import model as ir
from dragoman.ir.order import LAST
from dragoman.proto.envoy.extensions.filters.http.lua import v3 as lua

NOTHING: dict[str, Any] = {"login": False, "headers": [], "params": [], "cookies": []}
BEARER = {"name": "authorization", "prefix": "Bearer "}


def told(**auth: Any) -> dict[str, Any] | None:
    route = ir.Route("r", ir.RouteMatch(ir.SegmentPrefix("/")), ir.Respond(200), LAST, auth=ir.Auth(**auth))
    config = spent.FILTER.per_route(route)
    return (
        None if config is None else proto.to_dict(lua.LuaPerRoute.FromString(config.value))["filter_context"]
    )


def jwt(**more: Any) -> ir.Jwt:
    return ir.Jwt((ir.JwtProvider("https://issuer.example", (), "{}", **more),))


def test_tokens() -> None:
    assert told(jwt=jwt()) is None
    assert told(jwt=jwt(forward=False)) == NOTHING | {"headers": [BEARER], "params": ["access_token"]}
    # Of headers alone Envoy takes them itself.
    assert told(jwt=jwt(forward=False, headers=(("x-token", ""),))) is None
    cookies = jwt(forward=False, headers=(("x-token", ""),), cookies=("session",))
    assert told(jwt=cookies) == NOTHING | {"cookies": ["session"]}


def test_keys_and_what_is_looked_up() -> None:
    sets = (ir.KeySet("shop"),)
    assert told(keys=ir.ApiKeys(sets, ("x-api-key",), (), ("ak",))) is None
    assert told(keys=ir.ApiKeys(sets, ("x-api-key",), ("k",))) == NOTHING | {"params": ["k"]}
    token = ir.Introspection("shop/p", "there", places=ir.Places(cookies=("session",)), forward=False)
    key = ir.RedisKeys("shop/p", places=ir.Places((("x-api-key", ""),), ("k",), ("ak",)))
    assert told(introspection=token, redis_keys=key) == {
        "login": False,
        "headers": [{"name": "x-api-key", "prefix": ""}],
        "params": ["k"],
        "cookies": ["ak", "session"],
    }
    assert told(introspection=ir.Introspection("shop/p", "there")) is None
