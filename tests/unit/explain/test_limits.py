"""Which limits a request hits, and by what it counts."""

from __future__ import annotations

import json
from dataclasses import replace

from dragoman import explain
from dragoman.ir import model as ir, ratelimit
from tests.unit.ir.build import route, view

Part, KeyPart, Condition = ratelimit.Part, ratelimit.KeyPart, ratelimit.Condition
PLAIN = ir.RateLimit("shop/p/a", "a", "shop/p", 10, 60.0, ratelimit.Counting.FIXED_WINDOW)


def told(
    limit: ir.RateLimit,
    url: str = "http://shop.example/cart",
    method: str = "GET",
    action: ir.Action | None = None,
    **headers: str,
) -> str:
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    limited = replace(route("HTTPRoute/shop/cart/0/0", "/cart"), limits=(limit,))
    world = view({"*": [replace(limited, action=action or limited.action)]})
    answer = explain.explain_request(world, explain.parse(method, url, pairs))
    json.dumps(answer.data)
    (line,) = [line.strip() for line in answer.lines() if "limit   " in line]
    return line


def test_the_key_as_the_request_has_it() -> None:
    parts = (
        KeyPart(Part.ADDRESS, bits4=24),
        KeyPart(Part.HEADER, "x-user"),
        KeyPart(Part.COOKIE, "sid"),
        KeyPart(Part.QUERY, "q"),
        KeyPart(Part.PATH),
    )
    line = told(replace(PLAIN, key=parts), "http://shop.example/cart?q=1", cookie="a=b; sid=7")
    assert line == (
        "limit         a: 10 per minute (FixedWindow by the service), client: its address's /24 or /64,"
        " header x-user: (of all who have none), cookie sid: 7, query q: 1, path: /cart"
    )
    local = replace(PLAIN, where=ratelimit.Where.LOCAL, shadow=True, window=90.0, place="HTTPRoute/shop/cart")
    local = replace(local, sharing=ratelimit.Sharing.ROUTE)
    assert told(local) == (
        "limit         a: 10 per 90 s (FixedWindow by Envoy, denies nothing), route: HTTPRoute/shop/cart"
    )


def test_what_does_not_count_says_why() -> None:
    writes = Condition(":method", "POST|PUT", regex=True)
    path = Condition(":path", r"/cart(\?.*)?", regex=True)
    friends = Condition("x-friend", invert=True)
    limit = replace(PLAIN, when=(writes, path, friends))
    assert told(limit, method="POST").startswith("limit ")
    assert told(limit) == "no limit      a: 10 per minute, since :method is not `POST|PUT`"
    assert "since :path is not" in told(limit, "http://shop.example/cart/x", "POST")
    assert told(limit, method="POST", x_friend="1").endswith("since x-friend is there")


def test_plans_and_quotas() -> None:
    plans = (ratelimit.Plan("gold", 50, 3600.0), ratelimit.Plan("free", None, 60.0))
    limit = replace(PLAIN, key=(KeyPart(Part.CONSUMER),), plans=plans)
    assert told(limit) == (
        "limit         a: 10 per minute (FixedWindow by the service), consumer: who it is;"
        " plan gold: 50 per hour; plan free: no limit"
    )
    quota = replace(PLAIN, where=ratelimit.Where.QUOTA, counting=ratelimit.Counting.TOKEN_BUCKET)
    assert "(TokenBucket by Envoy, as the service assigns), one count for all" in told(quota)


def test_costs_and_denials() -> None:
    limit = replace(PLAIN, where=ratelimit.Where.LOCAL, status=503, cost=ratelimit.Cost("x-tokens"))
    assert told(limit) == (
        "limit         a: 10 per minute (FixedWindow by Envoy, denies with 503), one count for all;"
        " costs the request's x-tokens"
    )


def test_what_happens_when_nobody_counts() -> None:
    closed = told(replace(PLAIN, failure=ratelimit.Failure.CLOSED))
    assert closed.endswith("one count for all; 503 when nobody can count")


def test_what_is_answered_without_a_backend_is_limited_too() -> None:
    for action in (ir.Redirect(302, hostname="new.example"), ir.Respond(200)):
        assert told(PLAIN, action=action).startswith("limit         a: 10 per minute")
