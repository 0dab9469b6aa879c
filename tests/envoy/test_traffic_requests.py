"""Timeouts, retries, fallbacks and faults through a real Envoy, without a control plane: what is counted is
what arrives at the backends.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from dragoman.envoy import pairs
from dragoman.ir import model as ir, upstream
from dragoman.translators.gateway import templates
from tests.envoy import static_site
from tests.envoy.static_site import StaticSite
from tests.unit.envoy.build import cluster, forward, route

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

SAFE = ("DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE")
ON = ("connect-failure", "refused-stream", "reset-before-request", "reset")
OFTEN = ir.Retry(3, (503, 429), 0.001, ON, 0.001, methods=SAFE, wait=2.0)
ANSWER = ir.Answer(
    207, (("x-id", "%REQ(x-id)%"),), json.dumps({"name": "nobody", "id": "%REQ(x-id)%", "sure": False})
)
COMMANDS = " ".join(f"%{name}%" for name in sorted(templates.PLAIN))
CORS = ir.Cors(("https://shop.example", "https://*.good.example"), allow_credentials=True)


def to(*names: str, **more: Any) -> list[ir.Route]:
    return [route(forward(*(names or ("v1",)), **more))]


def fallback(
    first: str = "dead", answer: ir.Answer | None = None, other: str = "", *codes: int
) -> ir.Forward:
    return forward(first, fallback=ir.Fallback(cluster(other) if other else None, answer, codes))


HOSTS: dict[str, list[ir.Route]] = {
    "retry.example": to(retry=OFTEN),
    "patient.example": to(retry=ir.Retry(2, (503,), 0.001, ON, wait=2.0)),
    "slow.example": to(retry=ir.Retry(2, (503,), 0.4, ON, 0.4)),
    "any-method.example": to(retry=ir.Retry(3, (503,), 0.001, ON)),
    "refused.example": to("half", retry=ir.Retry(3, (503,), 0.001, ON, methods=SAFE)),
    "headers.example": to(retry=ir.Retry(2, (), 0.001, ON, headers=(("x-again", ""), ("x-kind", "bad")))),
    "count.example": to(retry=ir.Retry(2, (503,), 0.001, ON, tell_backend=True, tell_client=True)),
    "hedge.example": to(retry=ir.Retry(1, (), 0.001, ON, hedge=True), try_timeout=0.15, timeout=5.0),
    "hosts.example": to("all", retry=ir.Retry(2, (503,), 0.001, ON)),
    "budget.example": to("frugal", retry=ir.Retry(5, (503,), 0.001, ON)),
    "idle.example": to(try_idle=0.2),
    "stream.example": to(duration=0.3),
    "answer.example": [
        route(fallback(answer=ANSWER), ir.SegmentPrefix("/dead")),
        route(fallback("v1", ANSWER), ir.SegmentPrefix("/own")),
        route(fallback("v1", ANSWER, "", 503), ir.SegmentPrefix("/asked")),
        route(fallback("empty", ANSWER), ir.SegmentPrefix("/empty")),
        route(fallback("closed", ANSWER), ir.SegmentPrefix("/closed")),
        route(fallback(answer=ir.Answer(200, text="not now, %REQ(x-id)%")), ir.SegmentPrefix("/text")),
        route(fallback(answer=ir.Answer(503)), ir.SegmentPrefix("/nothing")),
        route(fallback(answer=ir.Answer(200, text=COMMANDS)), ir.SegmentPrefix("/all")),
        route(fallback(answer=ANSWER), ir.SegmentPrefix("/cors"), cors=CORS),
    ],
    "reserve.example": [
        route(fallback("dead", None, "v2"), ir.SegmentPrefix("/dead")),
        route(fallback("empty", None, "v2"), ir.SegmentPrefix("/empty")),
        route(fallback("v1", None, "v2"), ir.SegmentPrefix("/own")),
        route(fallback("v1", None, "v2", 503), ir.SegmentPrefix("/asked")),
        route(fallback("dead", ANSWER, "empty"), ir.SegmentPrefix("/both")),
        route(fallback("closed", ANSWER, "v2"), ir.SegmentPrefix("/closed")),
    ],
    "reserve-retry.example": [
        route(
            ir.Forward(
                (ir.WeightedBackend(cluster("v1")),),
                retry=OFTEN,
                fallback=ir.Fallback(cluster("v2")),
            )
        )
    ],
    "fault.example": [
        route(forward(faults=ir.Faults(abort=ir.Abort(200_000, http=418))), ir.SegmentPrefix("/some")),
        route(forward(faults=ir.Faults(abort=ir.Abort(5_000, http=418))), ir.SegmentPrefix("/few")),
        route(
            forward(faults=ir.Faults(abort=ir.Abort(ir.SHARES, http=418), headers=(("x-test", "1"),))),
            ir.SegmentPrefix("/gated"),
        ),
        route(forward(faults=ir.Faults(ir.Delay(0.3, ir.SHARES))), ir.SegmentPrefix("/late")),
        route(
            forward(faults=ir.Faults(ir.Delay(None, ir.SHARES), ir.Abort(ir.SHARES))),
            ir.SegmentPrefix("/asked"),
        ),
        route(forward(faults=ir.Faults(abort=ir.Abort(ir.SHARES, grpc=8))), ir.SegmentPrefix("/grpc")),
    ],
    "plain.example": to(),
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def site(envoy_binary: Path) -> AsyncIterator[StaticSite]:
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        dead = ir.Endpoint("127.0.0.1", refusing.getsockname()[1])
        everything: list[Any] = [*static_site.service("dead", [dead]), *static_site.service("empty", [])]
        for item in (route for host in HOSTS.values() for route in host):
            assert isinstance(item.action, ir.Forward)
            for key in item.action.pairs():
                first = ir.Cluster(key._replace(reserve=()), ir.Discovery.EDS)
                everything.append(pairs.encode(key, first))
        made = {(item.type_url, item.name): item for item in everything}
        async with static_site.running(envoy_binary, HOSTS, [*made.values()], also=_also(dead)) as running:
            yield running


def _also(dead: ir.Endpoint) -> static_site.Also:
    """More services on the backends' endpoints."""

    def services(places: dict[str, ir.Endpoint]) -> list[Any]:
        first = places["v1"]
        return [
            *static_site.service("half", [dead, first]),
            *static_site.service(
                "frugal", [first], limits=upstream.Limits(budget=upstream.RetryBudget(1.0, 1))
            ),
            *static_site.closed("closed", first),
        ]

    return services


def tries(site: StaticSite, target: str, name: str = "v1") -> int:
    return sum(one.startswith(target) for one in site.backends[name].echo.seen)


def gaps(site: StaticSite, target: str) -> list[float]:
    echo = site.backends["v1"].echo
    times = [at for one, at in zip(echo.seen, echo.times, strict=True) if one.startswith(target)]
    return [later - sooner for sooner, later in itertools.pairwise(times)]


async def failing(site: StaticSite, host: str, name: str, method: str = "GET", **headers: str) -> int:
    """How many tries a request makes that gets a 503 every time."""
    target = f"/status/503?case={name}"
    reply = await site.ask(target, host, method, **headers)
    assert reply.status == 503
    return tries(site, target)


async def test_attempts_are_counted_at_the_backend(site: StaticSite) -> None:
    assert await failing(site, "retry.example", "get") == 4
    assert await failing(site, "plain.example", "plain") == 1
    query = "uuid=recovers&succeedAfter=2&responseCode=503"
    assert (await site.ask(f"/retry?{query}", "retry.example")).status == 200


async def test_only_methods_that_may_be_repeated(site: StaticSite) -> None:
    assert await failing(site, "retry.example", "post", "POST") == 1
    assert await failing(site, "retry.example", "patch", "PATCH") == 1
    assert await failing(site, "retry.example", "put", "PUT") == 4
    assert await failing(site, "any-method.example", "any", "POST") == 4


async def test_clients_have_no_say(site: StaticSite) -> None:
    header = {"x-envoy-retry-on": "5xx,retriable-status-codes"}
    assert await failing(site, "retry.example", "say", "POST", **header) == 1
    assert "X-Envoy-Retry-On" not in (await site.seen("/", "retry.example"))["headers"]


async def test_what_did_not_reach_the_backend_is_sent_again_whatever_the_method(site: StaticSite) -> None:
    """One of two endpoints refuses connections."""
    for method in ("POST", "GET"):
        replies = [await site.ask("/", "refused.example", method) for _ in range(12)]
        assert [reply.status for reply in replies] == [200] * 12


async def test_responses_with_certain_headers(site: StaticSite) -> None:
    for number, (sent, expected) in enumerate(
        [("x-again: yes", 3), ("x-kind: bad", 3), ("x-kind: good", 1), ("x-other: x", 1)]
    ):
        target = f"/?headers={number}"
        await site.ask(target, "headers.example", **{"x-echo-set-header": sent})
        assert tries(site, target) == expected, sent


async def test_back_off(site: StaticSite) -> None:
    """Full jitter: each pause is anything up to 0.4 s, so of many not all are short and none is long."""
    await asyncio.gather(*(failing(site, "slow.example", f"slow{n}") for n in range(8)))
    found = [gap for n in range(8) for gap in gaps(site, f"/status/503?case=slow{n}")]
    assert len(found) == 16
    assert max(found) > 0.1
    assert min(found) < 0.4


async def test_retry_after_is_waited_for(site: StaticSite) -> None:
    assert await failing(site, "patient.example", "wait", **{"x-echo-set-header": "retry-after:1"}) == 3
    assert all(gap >= 0.95 for gap in gaps(site, "/status/503?case=wait"))


@pytest.mark.parametrize("value", ["60", "3", "Wed, 21 Oct 2026 07:28:00 GMT", "soon"])
async def test_no_hammering_where_the_backend_wants_a_longer_wait(site: StaticSite, value: str) -> None:
    target = f"/status/503?after={len(value)}{value[0]}"
    header = {"x-echo-set-header": f"retry-after:{value.replace(',', '')}"}
    reply = await site.ask(target, "patient.example", **header)
    assert reply.status == 503
    assert reply.headers["retry-after"] == value.replace(",", "")
    assert tries(site, target) == 1
    assert not {name for name in reply.headers if "ratelimited" in name or "dragoman" in name}


@pytest.mark.parametrize(
    ("status", "reset", "expected"),
    [(429, 60, 1), (429, 1, 4), (503, 60, 4), (429, -50, 4)],
    ids=["too long", "waited for", "says nothing of this status", "long ago"],
)
async def test_reset_of_a_rate_limit(site: StaticSite, status: int, reset: int, expected: int) -> None:
    for name, value in (("seconds", reset), ("stamp", int(time.time()) + reset)):
        if value < 0:
            continue
        target = f"/status/{status}?reset={reset}{name}"
        await site.ask(target, "retry.example", **{"x-echo-set-header": f"x-ratelimit-reset:{value}"})
        assert tries(site, target) == expected, name
        if (status, reset) == (429, 1) and name == "seconds":
            assert all(gap >= 0.95 for gap in gaps(site, target))


async def test_the_number_of_the_try(site: StaticSite) -> None:
    query = "uuid=count&succeedAfter=1&responseCode=503"
    reply = await site.ask(f"/retry?{query}", "count.example")
    assert reply.status == 200
    assert reply.headers["x-envoy-attempt-count"] == "2"
    assert json.loads(reply.body)["headers"]["X-Envoy-Attempt-Count"] == ["2"]
    assert (await site.ask("/", "count.example")).headers["x-envoy-attempt-count"] == "1"
    plain = await site.ask("/", "plain.example")
    assert "x-envoy-attempt-count" not in plain.headers
    assert "X-Envoy-Attempt-Count" not in json.loads(plain.body)["headers"]


async def test_hedging_makes_a_second_request(site: StaticSite) -> None:
    """The first try is answered after 0.5 s, long after its limit, and counts: it was not given up."""
    target = "/?delay=500ms&case=hedge"
    reply = await site.ask(target, "hedge.example")
    assert reply.status == 200
    assert tries(site, target) == 2


async def test_another_endpoint_for_each_try(site: StaticSite) -> None:
    """Three tries, three endpoints: by chance alone 2 of 9 requests would meet all of them. Envoy draws
    endpoints until it meets a new one, but not for ever."""
    everywhere = 0
    for number in range(18):
        target = f"/status/503?case=hosts{number:02}"
        await site.ask(target, "hosts.example")
        everywhere += [tries(site, target, name) for name in static_site.BACKENDS] == [1, 1, 1]
    assert everywhere >= 15


async def test_a_budget(site: StaticSite) -> None:
    """Sixteen requests at once, five retries each if they were allowed: one may be under way at once."""
    target = "/status/503?case=budget"
    await asyncio.gather(*(site.ask(f"{target}&delay=50ms", "budget.example") for _ in range(16)))
    assert 16 <= tries(site, target) < 48
    free = "/status/503?case=free"
    await asyncio.gather(*(site.ask(f"{free}&delay=50ms", "any-method.example") for _ in range(16)))
    assert tries(site, free) == 64


async def test_a_try_on_which_nothing_moves(site: StaticSite) -> None:
    assert (await site.ask("/?delay=1s", "idle.example")).status == 504
    assert (await site.ask("/", "idle.example")).status == 200


async def test_a_stream_ends_however_much_moves(site: StaticSite) -> None:
    """A WebSocket that answers every frame is cut off; on a host without the limit it is not."""
    assert await echoes(site, "stream.example", 1.0) < 9
    assert await echoes(site, "plain.example", 1.0) == 10


async def echoes(site: StaticSite, host: str, seconds: float) -> int:
    """How many of ten frames within so many seconds are answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(
        f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    assert b"101" in await reader.readuntil(b"\r\n\r\n")
    answered = 0
    try:
        for _ in range(10):
            writer.write(bytes([0x81, 0x82, 0, 0, 0, 0]) + b"hi")
            await reader.readexactly(4)
            answered += 1
            await asyncio.sleep(seconds / 10)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()
    return answered


@pytest.mark.parametrize("path", ["/dead", "/empty", "/closed"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_answer_where_no_backend_gives_one(site: StaticSite, path: str, method: str) -> None:
    reply = await site.ask(path, "answer.example", method, **{"x-id": 'a"b'})
    assert reply.status == 207
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-id"] == 'a"b'
    assert json.loads(reply.body) == {"name": "nobody", "id": 'a"b', "sure": False}


async def test_the_backends_own_errors_are_its_own(site: StaticSite) -> None:
    """The prefix is the route's; the echo backend looks at the last part of `/status/`."""
    for path, status in (("/own", 503), ("/asked", 207)):
        assert (await site.ask(path, "answer.example", **{"x-echo-status": "503"})).status == status
        assert (await site.ask(path, "answer.example")).status == 200


async def test_other_forms_of_answers(site: StaticSite) -> None:
    text = await site.ask("/text", "answer.example", **{"x-id": "7"})
    assert (text.status, text.body, text.headers["content-type"]) == (200, b"not now, 7", "text/plain")
    every = await site.ask("/all", "answer.example", **{"x-id": "7"})
    assert b"%" not in every.body, "a command that Envoy does not know"
    assert b"UF" in every.body.split(), "the connection was refused, and the answer may say so"
    nothing = await site.ask("/nothing", "answer.example")
    assert (nothing.status, nothing.body) == (503, b"")


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://shop.example", True),
        ("https://a.good.example", True),
        ("https://evil.example", False),
        ("https://shopxexample", False),
    ],
)
async def test_a_page_may_read_the_answer(site: StaticSite, origin: str, allowed: bool) -> None:
    reply = await site.ask("/cors", "answer.example", origin=origin)
    assert reply.status == 207
    assert reply.headers.get("access-control-allow-origin") == (origin if allowed else None)
    assert reply.headers.get("access-control-allow-credentials") == ("true" if allowed else None)


@pytest.mark.parametrize("path", ["/dead", "/empty"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_another_backend_takes_over(site: StaticSite, path: str, method: str) -> None:
    replies = [await site.ask(path, "reserve.example", method) for _ in range(5)]
    assert [(reply.status, reply.pod) for reply in replies] == [(200, "v2")] * 5


async def test_a_body_goes_to_the_other_backend(site: StaticSite) -> None:
    reply = await static_site.upload(site.port, "/dead", "reserve.example", 200_000)
    assert (reply.status, reply.pod) == (200, "v2")


async def test_another_backend_for_statuses_only_if_asked(site: StaticSite) -> None:
    own = await site.ask("/own", "reserve.example", **{"x-echo-status": "503"})
    assert (own.status, own.pod) == (503, "v1")
    asked = await site.ask("/asked", "reserve.example", **{"x-echo-status": "503"})
    assert asked.pod == "v2"
    assert (await site.ask("/asked", "reserve.example")).pod == "v1"


async def test_an_answer_where_the_other_backend_has_none(site: StaticSite) -> None:
    """And where the circuit breaker of the first is open, which no retry gets past."""
    assert (await site.ask("/both", "reserve.example")).status == 207
    assert (await site.ask("/closed", "reserve.example")).status == 207


async def test_retries_stay_with_the_first_backend_until_the_last(site: StaticSite) -> None:
    target = "/status/503?case=reserve"
    reply = await site.ask(target, "reserve-retry.example")
    assert reply.pod == "v2"
    assert [tries(site, target, name) for name in ("v1", "v2")] == [4, 1]


async def test_faults_hit_their_share(site: StaticSite) -> None:
    async def hits(path: str, number: int) -> int:
        found = 0
        for _ in range(0, number, 50):
            replies = await asyncio.gather(*(site.ask(path, "fault.example") for _ in range(50)))
            found += sum(reply.status == 418 for reply in replies)
        return found

    assert 50 <= await hits("/some", 600) <= 200  # 120 expected; beyond seven standard deviations
    assert await hits("/few", 600) <= 20  # 3 expected: half a percent is not a whole one, nor all


async def test_faults_for_some_requests(site: StaticSite) -> None:
    assert (await site.ask("/gated", "fault.example")).status == 200
    assert (await site.ask("/gated", "fault.example", **{"x-test": "2"})).status == 200
    assert (await site.ask("/gated", "fault.example", **{"x-test": "1"})).status == 418


async def test_delays(site: StaticSite) -> None:
    start = time.monotonic()
    assert (await site.ask("/late", "fault.example")).status == 200
    assert time.monotonic() - start >= 0.29


async def test_faults_by_header(site: StaticSite) -> None:
    asked = {"x-envoy-fault-abort-request": "418"}
    assert (await site.ask("/asked", "fault.example", **asked)).status == 418
    assert (await site.ask("/asked", "fault.example")).status == 200
    assert (await site.ask("/late", "fault.example", **asked)).status == 200
    start = time.monotonic()
    await site.ask("/asked", "fault.example", **{"x-envoy-fault-delay-request": "300"})
    assert time.monotonic() - start >= 0.29


async def test_a_grpc_fault(site: StaticSite) -> None:
    reply = await site.ask("/grpc", "fault.example", "POST", **{"content-type": "application/grpc"})
    assert (reply.status, reply.headers["grpc-status"]) == (200, "8")
