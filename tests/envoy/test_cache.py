"""Caching through the real Envoy: who is answered from the cache, under which key, for how long, and what a
miss goes through on its way. The backend's own log says who asked it."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from dragoman.ir import model as ir
from tests.envoy import static_site
from tests.envoy.static_site import StaticSite
from tests.harness import net
from tests.harness.load import Reply
from tests.unit.envoy.build import cluster, forward, route

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

PREFIX = ir.SegmentPrefix
HOST = "shop.example"
FOLDER = Path(tempfile.mkdtemp(prefix="dragoman-cache-"))
SMALL = FOLDER / "small"
ABSENT = FOLDER / "absent"
STORE = ir.Storage(str(FOLDER))
MINUTE = ir.Cache(ttl=60, storage=STORE)
CHANGE = ir.HeaderMutation((("x-set", "rule"),))


def kept(path: str, spec: ir.Cache = MINUTE, action: ir.Action | None = None, **more: Any) -> ir.Route:
    return route(action or forward(), PREFIX(path), name=f"HTTPRoute/shop/cart{path}/0", cache=spec, **more)


def by(header: str, value: str, path: str) -> ir.Route:
    """A rule with the same path, host and backend as others, chosen by a header."""
    match = ir.RouteMatch(PREFIX(path), headers=(ir.HeaderMatch(header, ir.Exact(value)),))
    rewrite = forward(rewrite=ir.ReplacePrefix(path, f"/{value}"))
    return route(rewrite, match=match, name=f"HTTPRoute/shop/{value}/#0/0", cache=MINUTE)


HOSTS: static_site.Hosts = {
    HOST: [
        kept("/plain"),
        kept("/quiet", replace(MINUTE, status_header="")),
        kept("/named", replace(MINUTE, status_header="x-kept")),
        kept("/short", replace(MINUTE, ttl=1)),
        kept("/origin", replace(MINUTE, ttl=None)),
        kept("/stubborn", replace(MINUTE, respect_origin=False)),
        kept(
            "/statuses",
            replace(MINUTE, statuses=((404, 60), (204, 0))),
            forward(rewrite=ir.ReplacePrefix("/statuses", "/status")),
        ),
        kept("/only", replace(MINUTE, parameters=("a", "b"))),
        kept("/never", replace(MINUTE, parameters=())),
        kept("/ignored", replace(MINUTE, ignored=("utm",))),
        kept("/headers", replace(MINUTE, headers=("accept-language",))),
        kept("/user", replace(MINUTE, identity=("x-user-id",))),
        kept("/shared", replace(MINUTE, shared=True)),
        kept("/locked", replace(MINUTE, authenticated=True)),
        kept("/keyed", replace(MINUTE, credentials=(*ir.Cache().credentials, "x-api-key"))),
        kept("/refresh", replace(MINUTE, client_refresh=True)),
        kept("/small", replace(MINUTE, storage=ir.Storage(str(SMALL), 20_000))),
        kept("/large", replace(MINUTE, largest=300)),
        kept("/absent", replace(MINUTE, storage=ir.Storage(str(ABSENT)))),
        kept(
            "/work",
            MINUTE,
            forward(rewrite=ir.ReplacePrefix("/work", "/new"), retry=ir.Retry(2, (503,), 0.001), timeout=0.4),
            request_headers=CHANGE,
            response_headers=CHANGE,
        ),
        kept(
            "/again",
            MINUTE,
            forward(rewrite=ir.ReplacePrefix("/again", "/retry"), retry=ir.Retry(2, (503,), 0.001)),
        ),
        kept(
            "/weights",
            MINUTE,
            ir.Forward((ir.WeightedBackend(cluster("v1")), ir.WeightedBackend(cluster("v2")))),
        ),
        by("x-kind", "red", "/kinds"),
        by("x-kind", "blue", "/kinds"),
        route(forward(), PREFIX("/free")),
    ],
    "other.example": [kept("/plain")],
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def site(envoy_binary: Path) -> AsyncIterator[StaticSite]:
    SMALL.mkdir(parents=True)  # the folder is gone where this module comes by for the second time
    try:
        async with static_site.running(envoy_binary, HOSTS) as running:
            yield running
    finally:
        shutil.rmtree(FOLDER)


def asked(site: StaticSite, path: str) -> int:
    """How often backends were asked for that path, whatever its query."""
    seen = [target for each in site.backends.values() for target in each.echo.seen]
    return sum(target.partition("?")[0] == path for target in seen)


def said(*headers: str) -> dict[str, str]:
    """The backend is to answer with these headers."""
    return {"x-echo-set-header": ",".join(headers)}


def path_of(reply: Reply) -> str:
    return str(json.loads(reply.body)["path"])


async def results(site: StaticSite, path: str, times: int = 2, **headers: str) -> list[str]:
    return [(await site.ask(path, **headers)).headers.get("x-cache", "") for _ in range(times)]


async def test_the_second_request_is_answered_from_the_cache(site: StaticSite) -> None:
    first, second = await site.ask("/plain/a?b=1&a=2&f"), await site.ask("/plain/a?b=1&a=2&f")
    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("MISS", "HIT")
    assert first.body == second.body
    assert path_of(first) == "/plain/a?b=1&a=2&f"
    assert asked(site, "/plain/a") == 1
    assert "age" not in first.headers
    assert "age" in second.headers


async def test_the_backend_sees_what_it_would_see_without_a_cache(site: StaticSite) -> None:
    own = {"x-forwarded-for": "203.0.113.7", "x-request-id": "5f3d", "accept": "*/*", "traceparent": "x"}
    cached, free = (
        await site.seen("/plain/view?q=%2F+x&&", **own),
        await site.seen("/free/view?q=%2F+x&&", **own),
    )
    assert cached["path"] == "/plain/view?q=%2F+x&&"
    assert cached["headers"] == free["headers"]
    assert cached["host"] == free["host"]


async def test_what_passes_without_a_cache_passes_with_one(site: StaticSite) -> None:
    many = {f"x-many-{n}": "1" for n in range(96)}
    long = "?" + "q=0123456789&" * 1500
    for place in ("/free", "/plain"):
        assert (await site.ask(f"{place}/many", **many)).status == 200
        assert (await site.ask(f"{place}/long{long}")).status == 200
        answer = said(*(f"x-many-{n}: 1" for n in range(90)))
        assert (await site.ask(f"{place}/answer", **answer)).headers["x-many-89"] == "1"


async def test_clients_see_what_the_backend_said(site: StaticSite) -> None:
    for life in ((), ("cache-control: max-age=60", "x-own: 1")):
        path = f"/plain/headers{len(life)}"
        replies = [await site.ask(path, **said(*life)) for _ in range(2)]
        free = await site.ask("/free/headers", **said(*life))
        for reply in replies:
            added = {"x-cache", "age", "date", "content-length"}
            assert {k: v for k, v in reply.headers.items() if k not in added} == {
                k: v for k, v in free.headers.items() if k not in added
            }


async def test_hosts_and_rules_have_answers_of_their_own(site: StaticSite) -> None:
    assert (await site.ask("/plain/h")).headers["x-cache"] == "MISS"
    assert (await site.ask("/plain/h", "other.example")).headers["x-cache"] == "MISS"
    found = {
        kind: [await site.ask("/kinds/x", **{"x-kind": kind}) for _ in range(2)] for kind in ("red", "blue")
    }
    for kind, (first, second) in found.items():
        assert path_of(first) == path_of(second) == f"/{kind}/x"
        assert (first.headers["x-cache"], second.headers["x-cache"]) == ("MISS", "HIT")


async def test_other_methods_and_conditions_pass_by(site: StaticSite) -> None:
    path = "/plain/methods"
    assert await results(site, path) == ["MISS", "HIT"]
    for number, method in enumerate(("POST", "PUT", "DELETE", "OPTIONS"), start=2):
        reply = await site.ask(path, method=method)
        assert "x-cache" not in reply.headers
        assert asked(site, path) == number
    for header in ("if-none-match", "if-modified-since", "if-range"):
        assert await results(site, path, 1, **{header: '"x"'}) == [""]
    assert asked(site, path) == 8


async def test_a_websocket_is_no_answer_to_keep(site: StaticSite) -> None:
    upgrade = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-key": "x"}
    for _ in range(2):
        assert (await site.ask("/plain/ws", **upgrade)).status == 101


async def test_a_get_with_a_body_goes_to_the_backend_as_it_came(site: StaticSite) -> None:
    for number in (1, 2):
        reply = await asyncio.wait_for(_with_body(site.port, "/plain/body?x"), 5)
        assert path_of(reply) == "/plain/body?x"
        assert "X-Envoy-Original-Path" not in json.loads(reply.body)["headers"]
        assert asked(site, "/plain/body") == number


async def _with_body(port: int, path: str) -> Reply:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 3\r\n\r\nabc".encode())
    reply = await static_site.read_reply(reader)
    writer.close()
    return reply


async def test_head_is_answered_from_what_a_get_left(site: StaticSite) -> None:
    await site.ask("/plain/head")
    assert await _head(site.port, "/plain/head") == "HIT"
    assert asked(site, "/plain/head") == 1


async def _head(port: int, path: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"HEAD {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    reply = await static_site.read_reply(reader, head=True)
    writer.close()
    return reply.headers["x-cache"]


# --- how long ---------------------------------------------------------------------------------------------


async def kept_by(site: StaticSite, place: str, **headers: str) -> str:
    """A path whose answer, good for a second, is kept now. A machine that stands still for that long needs
    another one."""
    for number in range(20):
        path = f"{place}/kept{number}"
        if await results(site, path, **headers) == ["MISS", "HIT"]:
            return path
    raise AssertionError("nothing is kept")


async def ended(site: StaticSite, path: str, **headers: str) -> None:
    """The backend is asked again."""

    async def again() -> bool:
        await site.ask(path, **headers)
        return asked(site, path) > 1

    await net.until("the answer's time is over", again, pause=0.1)


async def test_an_answer_ends(site: StaticSite) -> None:
    path = await kept_by(site, "/short")
    await ended(site, path)


async def test_the_backend_has_the_last_word(site: StaticSite) -> None:
    for number, life in enumerate(("no-store", "private", "Private, Max-Age=60", "max-age=60, No-Store")):
        for place in ("/plain", "/stubborn"):
            assert await results(
                site, f"{place}/no{number}", **said(f"cache-control: {life.replace(',', ';')}")
            ) == [
                "MISS",
                "MISS",
            ], life
    assert await results(site, "/origin/unsaid") == ["MISS", "MISS"]
    assert await results(site, "/origin/said", **said("cache-control: max-age=60")) == ["MISS", "HIT"]
    short = said("cache-control: max-age=1")
    await results(site, "/stubborn/short", **short)
    await ended(site, await kept_by(site, "/plain", **short), **short)
    await site.ask("/stubborn/short", **short)
    assert asked(site, "/stubborn/short") == 1


async def test_statuses(site: StaticSite) -> None:
    for status, expected in ((200, "HIT"), (404, "HIT"), (204, "MISS"), (410, "MISS"), (500, "MISS")):
        found = [await site.ask(f"/statuses/{status}") for _ in range(2)]
        assert {reply.status for reply in found} == {status}
        assert [reply.headers["x-cache"] for reply in found] == ["MISS", expected], status


async def test_answers_that_set_cookies_are_not_kept(site: StaticSite) -> None:
    for place in ("/plain", "/shared", "/stubborn"):
        cookie = said("set-cookie: id=1", "cache-control: max-age=60")
        assert await results(site, f"{place}/cookie", **cookie) == ["MISS", "MISS"]


async def test_vary(site: StaticSite) -> None:
    vary = said("vary: Accept-Language")
    assert await results(site, "/plain/vary", **vary) == ["MISS", "MISS"]
    replies = [await site.ask("/headers/vary", **vary, **{"accept-language": "de"}) for _ in range(2)]
    assert [reply.headers["x-cache"] for reply in replies] == ["MISS", "HIT"]
    assert [reply.headers["vary"] for reply in replies] == ["Accept-Language"] * 2
    assert await results(site, "/headers/vary", 1, **vary, **{"accept-language": "en"}) == ["MISS"]
    more = said("vary: Accept-Language", "vary: User-Agent")
    assert await results(site, "/headers/more", **more) == ["MISS", "MISS"]
    assert await results(site, "/headers/any", **said("vary: *")) == ["MISS", "MISS"]


# --- whose ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["authorization", "cookie"])
async def test_requests_with_credentials_share_nothing(site: StaticSite, header: str) -> None:
    path = f"/plain/with-{header}"
    assert await results(site, path, **{header: "alice"}) == ["", ""]
    assert await results(site, path) == ["MISS", "HIT"]  # nothing of alice's was kept
    assert await results(site, path, **{header: "bob"}) == ["", ""]  # nor is bob answered from the cache
    assert asked(site, path) == 5
    assert (await site.seen(path, **{header: "bob"}))["headers"][header.capitalize()] == ["bob"]


async def test_other_credentials_count_where_they_are_named(site: StaticSite) -> None:
    assert await results(site, "/keyed/a", **{"x-api-key": "1"}) == ["", ""]
    assert await results(site, "/keyed/a") == ["MISS", "HIT"]
    assert asked(site, "/keyed/a") == 3


async def test_a_route_with_authentication_and_no_identity_keeps_nothing(site: StaticSite) -> None:
    assert await results(site, "/locked/a", 3) == ["", "", ""]
    assert asked(site, "/locked/a") == 3


async def test_an_identity_splits_the_key(site: StaticSite) -> None:
    def user(name: str) -> dict[str, str]:
        return {"x-user-id": name, "authorization": f"Bearer {name}", "cookie": f"session={name}"}

    first = await site.ask("/user/me?q=1", **user("alice"))
    bob = await site.ask("/user/me?q=1", **user("bob"))
    second = await site.ask("/user/me?q=1", **user("alice"))
    assert [r.headers["x-cache"] for r in (first, bob, second)] == ["MISS", "MISS", "HIT"]
    assert first.body == second.body != bob.body
    seen = json.loads(bob.body)
    assert seen["path"] == "/user/me?q=1"
    assert seen["headers"]["Authorization"] == ["Bearer bob"]
    assert seen["headers"]["Cookie"] == ["session=bob"]
    assert asked(site, "/user/me") == 2


async def test_an_identity_cannot_be_forged_through_the_query(site: StaticSite) -> None:
    await site.ask("/user/forge", **{"x-user-id": "alice"})
    for query in (
        "?dragoman-header-x-user-id=alice",
        "?dragoman-request-x-user-id=alice&dragoman-header-x-user-id=alice",
    ):
        for name in ("mallory", "mallory&dragoman-header-x-user-id=alice", "alice%26", ""):
            headers = {"x-user-id": name} if name else {}
            reply = await site.ask(f"/user/forge{query}", **headers, **{"x-request-id": "alice"})
            assert reply.headers["x-cache"] == "MISS"
            assert path_of(reply) == f"/user/forge{query}"
    named = await site.ask("/user/forge", **{"x-request-id": "alice"})
    assert named.headers["x-cache"] == "MISS"
    assert "X-User-Id" not in json.loads(named.body)["headers"]


async def test_without_identity_nothing_is_shared(site: StaticSite) -> None:
    assert await results(site, "/user/anonymous", 3) == ["MISS"] * 3
    assert asked(site, "/user/anonymous") == 3


async def test_what_the_gateway_puts_aside_cannot_be_forged(site: StaticSite) -> None:
    forged = {
        "x-envoy-original-path": "/evil",
        "x-dragoman-authorization": "evil",
        "x-dragoman-forwarded": "192.0.2.66",
        "x-dragoman-client": "192.0.2.66",
    }
    seen = await site.seen("/plain/forged", **forged)
    assert seen["path"] == "/plain/forged"
    assert "Authorization" not in seen["headers"]
    assert not any(name.startswith("X-Dragoman") for name in seen["headers"])
    assert "192.0.2.66" not in str(seen["headers"])


async def test_shared_answers_are_shared_out_loud(site: StaticSite) -> None:
    assert await results(site, "/shared/a", 1, authorization="alice") == ["MISS"]
    assert await results(site, "/shared/a", 1, authorization="bob", cookie="x") == ["HIT"]
    assert asked(site, "/shared/a") == 1
    seen = await site.seen("/shared/b", authorization="alice")
    assert seen["headers"]["Authorization"] == ["alice"]


# --- which parts of a request -----------------------------------------------------------------------------


async def test_query_parameters_that_count(site: StaticSite) -> None:
    for query in ("", "?a=1", "?a=1&b=2", "?a=2"):
        assert await results(site, f"/only/x{query}") == ["MISS", "HIT"], query
    for query in ("?c=1", "?a=1&c=1", "?ab=1", "?a=1;c=1&c"):
        assert await results(site, f"/only/x{query}") == ["", ""], query
    assert await results(site, "/never/x") == ["MISS", "HIT"]
    assert await results(site, "/never/x?a=1") == ["", ""]


async def test_query_parameters_that_do_not_count_do_not_reach_the_backend(site: StaticSite) -> None:
    first, second = await site.ask("/ignored/x?utm=1&a=1"), await site.ask("/ignored/x?a=1&utm=evil")
    assert [r.headers["x-cache"] for r in (first, second)] == ["MISS", "HIT"]
    assert path_of(first) == "/ignored/x?a=1"


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("a=%20%26b%3D1&utm=1&c", "a=%20%26b%3D1&c"),
        ("utm=1&b=2&a=%C3%A9&ut%6D=2", "b=2&a=%C3%A9"),
        ("a=%0D%0AX:1&utm", "a=%0D%0AX:1"),
        ("z=%26", "z=%26"),
        ("utm=1", ""),
    ],
)
async def test_what_is_left_of_a_query_keeps_its_bytes(site: StaticSite, query: str, left: str) -> None:
    """Decoded, `%26` would be a parameter more at the backend, and `%20` would break the request."""
    reply = await site.ask(f"/ignored/bytes?{query}")
    assert reply.status == 200, reply.body
    assert path_of(reply) == f"/ignored/bytes{'?' if left else ''}{left}"
    assert b"dragoman" not in reply.body.lower()


async def test_a_request_differs_by_every_byte_of_its_query(site: StaticSite) -> None:
    for query in (
        "",
        "?a&b",
        "?b&a",
        "?a=&b",
        "?%61&b",
        "?dragoman-route=x",
        "?dragoman-path=x",
        "?",
        "?a=%20",
        "?a=%26b",
        "?%C3%A9=%0D%0A",
        "?a=%00%23",
    ):
        replies = [await site.ask(f"/plain/bytes{query}") for _ in range(2)]
        assert [reply.headers["x-cache"] for reply in replies] == ["MISS", "HIT"], query
        assert {path_of(reply) for reply in replies} == {f"/plain/bytes{query}"}


async def test_headers_of_the_key(site: StaticSite) -> None:
    assert await results(site, "/headers/x", **{"accept-language": "de"}) == ["MISS", "HIT"]
    assert await results(site, "/headers/x", **{"accept-language": "en"}) == ["MISS", "HIT"]
    for value in ("de, en;q=0.5", "a&dragoman-path=/b", "50% \xe4#?"):
        assert await results(site, "/headers/x", **{"accept-language": value}) == ["MISS", "HIT"], value
    assert await results(site, "/headers/x") == ["MISS", "HIT"]


async def test_clients_may_not_bypass_the_cache_unless_told(site: StaticSite) -> None:
    for header in ({"cache-control": "no-cache"}, {"pragma": "no-cache"}, {"cache-control": "no-store"}):
        path = f"/plain/{'-'.join(header)}{len(str(header))}"
        await site.ask(path)
        assert await results(site, path, 1, **header) == ["HIT"]
    await site.ask("/refresh/a")
    assert await results(site, "/refresh/a", 1, **{"cache-control": "no-cache"}) == ["MISS"]
    assert asked(site, "/refresh/a") == 2


async def test_the_status_header(site: StaticSite) -> None:
    quiet = [await site.ask("/quiet/a") for _ in range(2)]
    assert not any("x-cache" in reply.headers for reply in quiet)
    assert asked(site, "/quiet/a") == 1
    assert (await site.ask("/named/a")).headers["x-kept"] == "MISS"


# --- what a miss goes through -----------------------------------------------------------------------------


async def test_a_miss_is_rewritten_and_its_headers_changed(site: StaticSite) -> None:
    replies = [await site.ask("/work/a?x=1") for _ in range(2)]
    assert [r.headers["x-cache"] for r in replies] == ["MISS", "HIT"]
    for reply in replies:
        assert path_of(reply) == "/new/a?x=1"
        assert reply.headers["x-set"] == "rule"
        assert json.loads(reply.body)["headers"]["X-Set"] == ["rule"]


async def test_a_miss_is_retried(site: StaticSite) -> None:
    assert await results(site, "/again?uuid=cached&succeedAfter=2&responseCode=503") == ["MISS", "HIT"]
    assert asked(site, "/retry") == 3


async def test_a_miss_has_the_routes_timeout(site: StaticSite) -> None:
    for _ in range(2):
        reply = await site.ask("/work/slow?delay=3s")
        assert (reply.status, reply.headers["x-cache"]) == (504, "MISS")
    assert asked(site, "/new/slow") == 2


async def test_a_miss_is_dealt_by_weight(site: StaticSite) -> None:
    pods = {json.loads((await site.ask(f"/weights/{n}")).body)["pod"] for n in range(30)}
    assert pods == {"v1", "v2"}


async def test_many_misses_are_one_request(site: StaticSite) -> None:
    replies = await asyncio.gather(*(site.ask("/plain/herd?delay=500ms") for _ in range(20)))
    assert {reply.status for reply in replies} == {200}
    assert asked(site, "/plain/herd") == 1


# --- where ------------------------------------------------------------------------------------------------


async def test_the_store_is_bounded(site: StaticSite) -> None:
    asking = iter(range(100_000))

    async def bounded() -> bool:
        """What is dropped is looked at when something is added."""
        for _ in range(50):
            await site.ask(f"/small/{next(asking)}")
        return 0 < sum(each.stat().st_size for each in SMALL.glob("cache-*")) <= 20_000 + 50 * 1000

    await bounded()
    await net.until("the store within its size", bounded)
    assert next(asking) > 90  # more than fits


async def test_an_answer_that_is_too_large_is_not_kept(site: StaticSite) -> None:
    assert await results(site, "/large/a") == ["MISS", "MISS"]
    assert asked(site, "/large/a") == 2


async def test_a_store_that_is_not_there_only_keeps_nothing(site: StaticSite) -> None:
    for number in (2, 4):  # the cache asks, cannot keep the answer, and asks again
        assert (await site.ask("/absent/a")).status == 200
        assert asked(site, "/absent/a") == number
