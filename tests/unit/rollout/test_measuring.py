"""Tallies of what Envoy reports, the reports themselves, and answers of a Prometheus."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from dragoman.ir.rollouts import Check, Query
from dragoman.proto.envoy.service.accesslog import v3 as als
from dragoman.refs import Ref
from dragoman.rollout import access_log, prometheus
from dragoman.rollout.machine import Measurement
from dragoman.rollout.tally import Tally

SERVICE = Ref("", "Service", "shop", "cart-v2")


def tally(good: int, bad: int, seconds: float = 0.01) -> Tally:
    made = Tally()
    for number in range(good + bad):
        made.add(good=number < good, seconds=seconds)
    return made


def test_a_verdict_needs_enough_requests() -> None:
    check = Check("c", 10.0, requests=20, success=99.0)
    assert tally(19, 0).judge(check) == Measurement(None, "19 of 20 requests")
    assert tally(20, 0).judge(check) == Measurement(True, "100.00% success of 20 requests")
    assert tally(19, 1).judge(check).good is False
    assert tally(99, 1).judge(check).good is True, "exactly the minimum is good"


def test_success_and_latency_must_both_be_good() -> None:
    check = Check("c", 10.0, requests=1, success=90.0, latency=0.1)
    assert tally(100, 0, 0.05).judge(check).good is True
    assert tally(100, 0, 0.2).judge(check).good is False
    assert tally(1, 99, 0.05).judge(check).good is False
    assert "p99 " in tally(100, 0, 0.05).judge(check).value


@pytest.mark.parametrize("percent", [50, 90, 99, 99.9])
def test_percentiles_are_right_within_two_percent(percent: float) -> None:
    generator = random.Random(7)
    seconds = [generator.lognormvariate(-3, 1.5) for _ in range(5000)]
    made = Tally()
    for each in seconds:
        made.add(good=True, seconds=each)
    exact = sorted(seconds)[int(len(seconds) * percent / 100) - 1]
    assert exact <= made.percentile(percent) * 1.000001
    assert made.percentile(percent) <= exact * 1.03


def test_a_time_of_zero_is_taken() -> None:
    assert tally(1, 0, 0.0).percentile(50) > 0


def entry(message: als.StreamAccessLogsMessage, cluster: str, code: int, rollout: str = "shop/cart") -> None:
    made = message.http_logs.log_entry.add()
    if rollout:
        made.common_properties.custom_tags["rollout"] = rollout
    made.common_properties.upstream_cluster = cluster
    made.common_properties.duration.nanos = 30_000_000
    if code:
        made.response.response_code.value = code


def test_what_is_read_of_a_report() -> None:
    message = als.StreamAccessLogsMessage()
    entry(message, "Service/shop/cart-v2/80", 200)
    entry(message, "Service/shop/cart-v2/80/grpc", 503)
    entry(message, "Backend/shop/v2", 404)
    entry(message, "Service/shop/cart-v2/80", 0)  # the client went away
    entry(message, "Service/shop/cart-v2/80", 200, rollout="")
    entry(message, "dragoman-invalid", 500)
    found = list(access_log.requests(message))
    assert [(one.backend, one.good) for one in found] == [
        ((SERVICE, 80), True),
        ((SERVICE, 80), False),
        ((Ref("dragoman.dev", "Backend", "shop", "v2"), 0), True),
    ]
    assert {one.seconds for one in found} == {0.03}


def test_the_backends_last_byte_counts_rather_than_the_clients() -> None:
    message = als.StreamAccessLogsMessage()
    entry(message, "Service/shop/cart-v2/80", 200)
    message.http_logs.log_entry[0].common_properties.time_to_last_upstream_rx_byte.nanos = 20_000_000
    (found,) = access_log.requests(message)
    assert found.seconds == 0.02


@pytest.mark.parametrize(("status", "good"), [("0", True), ("5", True), ("13", False), ("14", False)])
@pytest.mark.parametrize("where", ["response_trailers", "response_headers"])
def test_a_grpc_status_that_blames_the_server_is_a_failure(status: str, good: bool, where: str) -> None:
    message = als.StreamAccessLogsMessage()
    entry(message, "Service/shop/cart-v2/80", 200)
    getattr(message.http_logs.log_entry[0].response, where)["grpc-status"] = status
    (found,) = access_log.requests(message)
    assert found.good is good


# --- Prometheus -------------------------------------------------------------------------------------------


def vector(*values: str) -> bytes:
    samples = [{"metric": {}, "value": [1.0, value]} for value in values]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": samples}}).encode()


SCALAR = json.dumps({"status": "success", "data": {"resultType": "scalar", "result": [1.0, "3"]}}).encode()
MATRIX = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": []}}).encode()


@pytest.mark.parametrize(
    ("body", "good"),
    [
        (vector("1.5"), True),
        (vector("2"), True),
        (vector("2.01"), False),
        (vector("0.5"), False),
        (SCALAR, False),
        (vector("+Inf"), False),
        (vector("NaN"), None),
        (vector(), None),
        (vector("1", "2"), None),
        (MATRIX, None),
        (b"<html>", None),
        (b"[]", None),
        (b"{}", None),
        (b'{"data": {"resultType": "vector", "result": [{}]}}', None),
    ],
)
def test_one_number_or_no_measurement(body: bytes, good: bool | None) -> None:
    found = prometheus.judge(Query("http://p", "q", minimum=1, maximum=2), body)
    assert found.good is good, found
    assert "html" not in found.value


async def answered(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Measurement:
    app = web.Application()
    app.router.add_post("/base/api/v1/query", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with aiohttp.ClientSession() as session:
            return await prometheus.ask(session, Query(f"http://127.0.0.1:{port}/base", "up == 1", minimum=1))
    finally:
        await runner.cleanup()


async def test_it_is_asked_as_its_api_says() -> None:
    async def handler(request: web.Request) -> web.Response:
        assert (await request.post())["query"] == "up == 1"
        return web.Response(body=vector("1"), content_type="application/json")

    assert await answered(handler) == Measurement(True, "1")


async def test_its_errors_are_no_measurement() -> None:
    async def bad(_: web.Request) -> web.Response:
        return web.json_response({"status": "error", "errorType": "bad_data", "error": "secret"}, status=400)

    async def elsewhere(_: web.Request) -> web.Response:
        raise web.HTTPFound("http://169.254.169.254/")

    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(200):
            await answer.write(b" " * 4096)
        return answer

    assert await answered(bad) == Measurement(None, "Prometheus answers 400 (bad_data)")
    assert await answered(elsewhere) == Measurement(None, "Prometheus answers 302")
    assert (await answered(endless)).good is None


async def test_one_that_is_slow_or_away_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "_TIMEOUT", 0.2)

    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    assert (await answered(slow)).value == "Prometheus cannot be asked: TimeoutError"
    async with aiohttp.ClientSession() as session:
        found = await prometheus.ask(session, Query("http://127.0.0.1:1", "up", minimum=1))
    assert found.good is None
