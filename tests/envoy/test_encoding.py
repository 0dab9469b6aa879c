"""What the real Envoy does with the encoders' bytes: every feature of a route once, with real requests."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from dragoman.ir import model as ir
from tests.envoy import static_site
from tests.envoy.static_site import StaticSite
from tests.harness import net
from tests.unit.envoy.build import ROOT, cluster, forward, route

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

PREFIX = ir.SegmentPrefix
CHANCE = random.Random("prefix rewrites")


def _path(most: int) -> str:
    return "".join(
        "/" + CHANCE.choice(("a", "x.y", "b+c", "d$", "a-b")) for _ in range(CHANCE.randint(0, most))
    )


REWRITES = [(_path(2) or "/", (_path(2) + CHANCE.choice(("", "/"))) or "/", _path(2)) for _ in range(150)]
"""Prefix, replacement, and what follows the prefix in a request."""

RULE = ir.HeaderMutation((("x-set", "rule 50%"), ("x-empty", "")), (("x-add", "rule"),), ("x-gone",))
SHARE = ir.HeaderMutation((("x-set", "share"),), remove=("x-empty",))
SESSION = ir.SessionPersistence(ir.SessionKind.COOKIE, "sid", 60.0)
BY_HEADER = ir.SessionPersistence(ir.SessionKind.HEADER, "x-sid")
CORS = ir.Cors(("https://www.foo.com", "https://*.bar.com"), ("GET", "PUT"), ("x-a",), ("x-b",), True, 60)
ANY_ORIGIN = ir.Cors(("*",), ("*",), ("*",))
ANYTHING = ir.Cors(("*", "https://*"), ("*",), ("*",), ("*", "x-b"), True)
TLS_ORIGINS = ir.Cors(("https://*",))


def share(
    name: str | None, weight: int = 1, change: ir.HeaderMutation = ir.NO_MUTATION
) -> ir.WeightedBackend:
    return ir.WeightedBackend(cluster(name) if name else None, weight, change, change)


def matched(name: str, path: ir.PathMatch = ROOT, **conditions: object) -> ir.Route:
    return route(forward(name), match=ir.RouteMatch(path, **conditions))  # type: ignore[arg-type]


HOSTS: static_site.Hosts = {
    "shop.example": [route(forward("v1"))],
    "empty.example": [],
    "nowhere.example": [route(ir.Forward(()))],
    "half.example": [route(ir.Forward((share("v1"), share(None))))],
    "noendpoints.example": [route(forward("none"))],
    "draining.example": [route(forward("draining"))],
    "unhealthy.example": [route(forward("unhealthy"))],
    "*.wild.example": [route(forward("v1"))],
    "*": [route(forward("v2"))],
    "full.example": [
        route(forward(rewrite=ir.ReplaceFullPath("/new\\1")), PREFIX("/a")),
        route(forward(rewrite=ir.ReplaceFullPath("/new")), ir.ExactPath("/e")),
        route(forward(rewrite=ir.ReplaceFullPath("/new")), ir.RegexPath("/r.*")),
    ],
    "headers.example": [
        route(
            ir.Forward((share("v1", 1, SHARE),), hostname="other.example"),
            request_headers=RULE,
            response_headers=RULE,
        )
    ],
    "weights.example": [route(ir.Forward((share("v1", 9), share("v2", 1), share("v3", 0))))],
    "mirror.example": [route(forward("v1", mirrors=(ir.Mirror(cluster("v2")), ir.Mirror(cluster("v3"), 0))))],
    "retry.example": [route(forward("v1", retry=ir.Retry(2, (500,), 0.001)))],
    "timeout.example": [
        route(forward(timeout=0.05), PREFIX("/whole")),
        route(forward(try_timeout=0.05), PREFIX("/try")),
        route(forward(timeout=30, try_timeout=0.05, retry=ir.Retry(1)), PREFIX("/tries")),
        route(forward(timeout=0), PREFIX("/never")),
    ],
    "match.example": [
        matched("v1", method="POST"),
        matched("v2", headers=(ir.HeaderMatch("x-a", ir.Exact("1")), ir.HeaderMatch("x-b", ir.Regex("a.c")))),
        matched(
            "v3", PREFIX("/q"), query=(ir.QueryMatch("a", ir.Exact("1")), ir.QueryMatch("b", ir.Regex("x+")))
        ),
        matched("v1", PREFIX("/present"), headers=(ir.HeaderMatch("x-c", ir.Present()),)),
        matched("v2", PREFIX("/not"), headers=(ir.HeaderMatch("x-d", ir.Exact("1"), invert=True),)),
        matched("v3", ir.RegexPath("/re/[0-9]+")),
        matched("v3", ir.StringPrefix("/str")),
        matched("v3", ir.ExactPath("/exact/")),
        matched("v1", PREFIX("/seg")),
    ],
    "cors.example": [
        route(forward(), PREFIX("/some"), cors=CORS),
        route(forward(), PREFIX("/any"), cors=ANY_ORIGIN),
        route(forward(), PREFIX("/anything"), cors=ANYTHING),
        route(forward(), PREFIX("/tls"), cors=TLS_ORIGINS),
        route(forward(), PREFIX("/none")),
    ],
    "session.example": [
        route(forward("all", session=SESSION), PREFIX("/cookie")),
        route(forward("all", session=BY_HEADER), PREFIX("/header")),
        route(ir.Forward((share("v1"), share("v2")), session=SESSION), PREFIX("/shares")),
        route(forward("all"), PREFIX("/none")),
    ],
    "ws.example": [route(forward(websocket=False), PREFIX("/no")), route(forward())],
    "redirect.example": [
        route(ir.Redirect(301, "https", "new.example"), PREFIX("/https")),
        route(ir.Redirect(302, hostname="new.example"), PREFIX("/host")),
        route(ir.Redirect(303, path=ir.ReplacePrefix("/cut", "/")), PREFIX("/cut")),
        route(ir.Redirect(307, path=ir.ReplaceFullPath("/full")), PREFIX("/path")),
        route(ir.Redirect(308, "https", port=8443), PREFIX("/port")),
        route(ir.Redirect(301, "https"), PREFIX("/scheme")),
        route(ir.Redirect(302, hostname="new.example", port=0), PREFIX("/bare")),
    ],
    "direct.example": [
        route(ir.Respond(418, "no coffee"), response_headers=ir.HeaderMutation((("x-kind", "pot"),)))
    ],
    **{
        f"r{n}.example": [route(forward(rewrite=ir.ReplacePrefix(prefix, value)), PREFIX(prefix))]
        for n, (prefix, value, _) in enumerate(REWRITES)
    },
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def site(envoy_binary: Path) -> AsyncIterator[StaticSite]:
    here = ir.Endpoint("127.0.0.1", 1)
    more = [
        *static_site.service("none", []),
        *static_site.service("draining", [ir.Endpoint(here.address, here.port, health=ir.Health.DRAINING)]),
        *static_site.service("unhealthy", [ir.Endpoint(here.address, here.port, health=ir.Health.UNHEALTHY)]),
    ]
    async with static_site.running(envoy_binary, HOSTS, more) as running:
        yield running


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("shop.example", 200),
        ("empty.example", 404),
        ("misdirected.example", 421),
        ("nowhere.example", 500),
        ("noendpoints.example", 503),
        ("draining.example", 503),
        ("unhealthy.example", 503),
        ("direct.example", 418),
    ],
)
async def test_what_cannot_be_forwarded(site: StaticSite, host: str, status: int) -> None:
    assert (await site.ask(host=host)).status == status


async def test_an_invalid_share_gets_500(site: StaticSite) -> None:
    found = Counter([(await site.ask(host="half.example")).status for _ in range(100)])
    assert set(found) == {200, 500}


@pytest.mark.parametrize(
    ("host", "pod"),
    [
        ("a.wild.example", "v1"),
        ("a.b.wild.example", "v1"),
        ("A.Wild.Example:8080", "v1"),
        ("a.wild.example.", "v1"),
        ("wild.example", "v2"),
        ("unheard.of", "v2"),
        ("shop.example:123", "v1"),
    ],
)
async def test_host_names(site: StaticSite, host: str, pod: str) -> None:
    seen = await site.seen(host=host)
    assert seen["pod"] == pod
    assert seen["host"] == host.removesuffix(".")


async def test_prefix_rewrites_keep_every_slash(site: StaticSite) -> None:
    for number, (prefix, value, rest) in enumerate(REWRITES):
        stem = prefix.rstrip("/")
        for tail in (rest, rest + "/"):
            path = (stem + tail) or "/"
            expected = (value.rstrip("/") + (tail if stem or tail else "/")) or "/"
            seen = await site.seen(f"{path}?q=/a", f"r{number}.example")
            assert seen["path"] == f"{expected}?q=/a", (prefix, value, path)


@pytest.mark.parametrize(
    ("path", "seen"),
    [("/a/b?q=1", "/new\\1?q=1"), ("/a", "/new\\1"), ("/e?q", "/new?q"), ("/rx?q", "/new?q")],
)
async def test_full_path_rewrites(site: StaticSite, path: str, seen: str) -> None:
    assert (await site.seen(path, "full.example"))["path"] == seen


async def test_header_changes(site: StaticSite) -> None:
    reply = await site.ask(
        host="headers.example", x_set="client", x_gone="1", x_add="client", x_echo_set_header="x-gone:1"
    )
    assert reply.headers["x-set"] == "share"
    assert reply.headers["x-add"] == "rule"
    assert "x-gone" not in reply.headers
    seen = await site.seen(host="headers.example", x_set="client", x_gone="1", x_add="client", x_empty="1")
    headers = seen["headers"]
    assert seen["host"] == "other.example"
    assert headers["X-Set"] == ["share"]
    assert ",".join(headers["X-Add"]) == "client,rule"
    assert "X-Gone" not in headers
    assert "X-Empty" not in headers


async def test_what_the_gateway_adds_by_itself(site: StaticSite) -> None:
    reply = await site.ask(x_echo_set_header="server:mine", x_request_id="abc")
    assert reply.headers["server"] == "mine"
    assert not [name for name in reply.headers if name.startswith("x-envoy")]
    headers = (await site.seen(x_request_id="abc"))["headers"]
    assert headers["X-Request-Id"] == ["abc"]
    assert headers["X-Forwarded-Proto"] == ["http"]


async def test_headers_with_underscores_are_dropped(site: StaticSite) -> None:
    headers = (await site.seen(**{"x-user_id": "1", "x-user-id": "2"}))["headers"]
    assert headers["X-User-Id"] == ["2"]
    assert not [name for name in headers if "_" in name]


async def test_weights(site: StaticSite) -> None:
    found = Counter([(await site.seen(host="weights.example"))["pod"] for _ in range(200)])
    assert set(found) == {"v1", "v2"}
    assert found["v1"] > found["v2"]


async def test_mirrors(site: StaticSite) -> None:
    paths = [f"/mirrored/{n}" for n in range(20)]
    for path in paths:
        assert (await site.seen(path, "mirror.example"))["pod"] == "v1"
    copied = site.backends["v2"].echo.seen
    await net.until("all mirrored", lambda: set(paths) <= set(copied))
    assert not set(paths) & set(site.backends["v3"].echo.seen)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("uuid=a&succeedAfter=2&responseCode=500", 200),
        ("uuid=b&succeedAfter=3&responseCode=500", 500),
        ("uuid=c&succeedAfter=1&responseCode=502", 502),
        ("uuid=d&succeedAfter=2", 200),  # connections reset
    ],
)
async def test_retries(site: StaticSite, query: str, status: int) -> None:
    assert (await site.ask(f"/retry?{query}", "retry.example")).status == status


async def test_large_bodies_are_retried(site: StaticSite) -> None:
    """Larger than a connection's buffer, that is."""
    path = "/retry?uuid=body&succeedAfter=2&responseCode=500"
    assert (await static_site.upload(site.port, path, "retry.example", 500_000)).status == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [("/whole", 504), ("/try", 504), ("/tries", 504), ("/never", 200)],
)
async def test_timeouts(site: StaticSite, path: str, status: int) -> None:
    assert (await site.ask(f"{path}?delay=500ms", "timeout.example")).status == status
    assert (await site.ask("/whole", "timeout.example")).status == 200


@pytest.mark.parametrize(
    ("method", "path", "headers", "pod"),
    [
        ("POST", "/", {}, "v1"),
        ("GET", "/", {}, None),
        ("GET", "/", {"x-a": "1", "x-b": "abc"}, "v2"),
        ("GET", "/", {"x-a": "1", "x-b": "abcd"}, None),
        ("GET", "/q?a=1&b=xxx", {}, "v3"),
        ("GET", "/q?a=1&b=xxy", {}, None),
        ("GET", "/present", {"x-c": ""}, "v1"),
        ("GET", "/present", {}, None),
        ("GET", "/not", {}, "v2"),
        ("GET", "/not", {"x-d": "2"}, "v2"),
        ("GET", "/not", {"x-d": "1"}, None),
        ("GET", "/re/12?x", {}, "v3"),
        ("GET", "/re/12a", {}, None),
        ("GET", "/strict", {}, "v3"),
        ("GET", "/exact/", {}, "v3"),
        ("GET", "/exact", {}, None),
        ("GET", "/seg/x", {}, "v1"),
        ("GET", "/segx", {}, None),
        # What Envoy does to paths before it matches them.
        ("GET", "//seg//x", {}, "v1"),
        ("GET", "/x/../seg", {}, "v1"),
        ("GET", "/%73eg", {}, "v1"),
    ],
)
async def test_matches(
    site: StaticSite, method: str, path: str, headers: dict[str, str], pod: str | None
) -> None:
    reply = await site.ask(path, "match.example", method, **headers)
    assert (reply.status, reply.pod) == ((200, pod) if pod else (404, ""))


async def test_escaped_slashes_are_sent_round(site: StaticSite) -> None:
    reply = await site.ask("/a%2Fb")
    assert (reply.status, reply.headers["location"]) == (307, "/a/b")


def allowed(headers: dict[str, str]) -> dict[str, str]:
    start = "access-control-"
    return {name.removeprefix(start): value for name, value in headers.items() if name.startswith(start)}


@pytest.mark.parametrize("origin", ["https://www.foo.com", "https://a.bar.com", "https://a.b.bar.com"])
async def test_cors_of_some_origins(site: StaticSite, origin: str) -> None:
    asked = {"origin": origin, "access-control-request-method": "PUT"}
    reply = await site.ask("/some", "cors.example", "OPTIONS", **asked)
    assert reply.status == 200
    assert allowed(reply.headers) == {
        "allow-origin": origin,
        "allow-methods": "GET, PUT",
        "allow-headers": "x-a",
        "expose-headers": "x-b",
        "allow-credentials": "true",
        "max-age": "60",
    }
    reply = await site.ask("/some", "cors.example", origin=origin)
    assert allowed(reply.headers)["allow-origin"] == origin
    assert reply.pod == "v1"


@pytest.mark.parametrize(
    "origin", ["https://foo.com", "https://bar.com", "https://evil.com/.bar.com", "null"]
)
async def test_cors_of_other_origins(site: StaticSite, origin: str) -> None:
    asked = {"origin": origin, "access-control-request-method": "PUT"}
    reply = await site.ask("/some", "cors.example", "OPTIONS", **asked)
    assert "allow-origin" not in allowed(reply.headers)
    assert not reply.pod
    reply = await site.ask("/some", "cors.example", origin=origin)
    assert not allowed(reply.headers)


async def test_cors_of_any_origin(site: StaticSite) -> None:
    asked = {
        "origin": "https://x.y:1",
        "access-control-request-method": "PATCH",
        "access-control-request-headers": "x-1, x-2",
    }
    reply = await site.ask("/any", "cors.example", "OPTIONS", **asked)
    assert allowed(reply.headers) == {
        "allow-origin": "https://x.y:1",
        "allow-methods": "PATCH",
        "allow-headers": "x-1, x-2",
        "max-age": "5",
    }
    reply = await site.ask("/none", "cors.example", "OPTIONS", **asked)
    assert not allowed(reply.headers)
    assert reply.pod == "v1"


async def test_cors_answers_no_wildcard_with_credentials(site: StaticSite) -> None:
    """Browsers then take `*` for a name (Gateway API, HTTPCORSFilter: it must not be answered)."""
    asked = {"origin": "https://x.y", "access-control-request-method": "PATCH"}
    known = {"allow-origin": "https://x.y", "allow-credentials": "true", "expose-headers": "x-b"}
    reply = await site.ask("/anything", "cors.example", "OPTIONS", **asked)
    answered = {name: value for name, value in allowed(reply.headers).items() if value}
    assert answered == {**known, "allow-methods": "PATCH", "max-age": "5"}
    reply = await site.ask("/anything", "cors.example", origin="https://x.y")
    assert allowed(reply.headers) == known


@pytest.mark.parametrize(
    ("origin", "known"),
    [("https://a.example", True), ("https://[::1]", True), ("https://a.example:8443", False)],
)
async def test_cors_of_any_host_is_of_the_known_port(site: StaticSite, origin: str, known: bool) -> None:
    reply = await site.ask("/tls", "cors.example", origin=origin)
    assert ("allow-origin" in allowed(reply.headers)) is known


@pytest.mark.parametrize("path", ["/cookie", "/header", "/shares"])
async def test_sessions(site: StaticSite, path: str) -> None:
    for _ in range(5):
        first = await site.ask(path, "session.example")
        given = {"x-sid": first.headers.get("x-sid", "")}
        cookies = [part.split(";")[0] for part in first.headers.get("set-cookie", "").split(",")]
        given["cookie"] = "; ".join(cookies)
        pods = {(await site.ask(path, "session.example", **given)).pod for _ in range(20)}
        assert pods == {first.pod}


async def test_no_session_where_none_is_asked_for(site: StaticSite) -> None:
    replies = [await site.ask("/none", "session.example") for _ in range(60)]
    assert len({reply.pod for reply in replies}) > 1
    assert not any("set-cookie" in reply.headers for reply in replies)


@pytest.mark.parametrize(("path", "status"), [("/", 101), ("/no", 403)])
async def test_websockets(site: StaticSite, path: str, status: int) -> None:
    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert (await site.ask(path, "ws.example", **upgrade)).status == status


@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/https/a?b=c", 301, "https://new.example/https/a?b=c"),
        ("/host", 302, "http://new.example/host"),
        ("/bare", 302, "http://new.example/bare"),
        ("/cut/a", 303, "http://redirect.example/a"),
        ("/cut", 303, "http://redirect.example/"),
        ("/path?b=c", 307, "http://redirect.example/full?b=c"),
        ("/port", 308, "https://redirect.example:8443/port"),
        ("/scheme", 301, "https://redirect.example/scheme"),
    ],
)
async def test_redirects(site: StaticSite, path: str, status: int, location: str) -> None:
    reply = await site.ask(path, "redirect.example")
    assert (reply.status, reply.headers["location"]) == (status, location)


@pytest.mark.parametrize(
    ("path", "host", "location"),
    [
        ("/path", "redirect.example:8080", "http://redirect.example:8080/full"),
        ("/port", "redirect.example:8080", "https://redirect.example:8443/port"),
        ("/scheme", "redirect.example:80", "https://redirect.example/scheme"),
        ("/host", "redirect.example:8080", "http://new.example/host"),
    ],
)
async def test_the_clients_port_in_redirects(site: StaticSite, path: str, host: str, location: str) -> None:
    assert (await site.ask(path, host)).headers["location"] == location


async def test_direct_answers(site: StaticSite) -> None:
    reply = await site.ask(host="direct.example")
    assert (reply.body, reply.headers["x-kind"]) == (b"no coffee", "pot")
