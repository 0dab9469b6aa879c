"""Asks a Prometheus for one number (HTTP API v1, `/api/v1/query`).

Everything that goes wrong is no measurement, said in a few words that quote nothing of the answer; it never
raises. Redirects are not followed, and no credentials are sent: a query that needs some goes through a proxy
that adds them. Called by the controller.
"""

from __future__ import annotations

import math
from typing import Any, Final

import aiohttp
import orjson

from dragoman.ir.rollouts import Query
from dragoman.rollout.machine import Measurement

_TIMEOUT: Final = 5.0
_LARGEST: Final = 64 * 1024
"""Bytes of an answer with one sample, many times over."""


async def ask(session: aiohttp.ClientSession, query: Query) -> Measurement:
    """What the query says now, and whether it is good."""
    try:
        async with session.post(
            f"{query.address}/api/v1/query",
            data={"query": query.expression, "timeout": f"{_TIMEOUT:g}s"},
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT),
            allow_redirects=False,
        ) as answer:
            body = await _body(answer)
            if answer.status != 200:
                return Measurement(None, f"Prometheus answers {answer.status}{_complaint(body)}")
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as failure:
        return Measurement(None, f"Prometheus cannot be asked: {type(failure).__name__}")
    return judge(query, body)


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """As much as is allowed, and one byte more."""
    found = b""
    async for chunk in answer.content.iter_chunked(_LARGEST):
        found += chunk
        if len(found) > _LARGEST:
            break
    return found


def _complaint(body: bytes) -> str:
    """The kind of error that Prometheus names: one of its own few words."""
    try:
        kind = orjson.loads(body)["errorType"]
    except (ValueError, KeyError, TypeError):
        return ""
    known = {"bad_data", "execution", "timeout", "canceled", "internal", "unavailable", "not_found"}
    return f" ({kind})" if kind in known else ""


def judge(query: Query, body: bytes) -> Measurement:
    """The number in an answer's body."""
    if len(body) > _LARGEST:
        return Measurement(None, "the answer is too large for one number")
    try:
        number = _number(orjson.loads(body)["data"])
    except (ValueError, KeyError, TypeError, IndexError):
        return Measurement(None, "the answer is none of Prometheus")
    if isinstance(number, str):
        return Measurement(None, number)
    if math.isnan(number):
        return Measurement(None, "the query gives NaN")
    good = (query.minimum is None or number >= query.minimum) and (
        query.maximum is None or number <= query.maximum
    )
    return Measurement(good, f"{number:.6g}")


def _number(data: Any) -> float | str:
    """The number, or why there is not one. A sample is (time, text)."""
    match data["resultType"]:
        case "scalar":
            return float(data["result"][1])
        case "vector":
            samples = data["result"]
            if len(samples) != 1:
                return f"the query gives {len(samples)} samples, and one is needed"
            return float(samples[0]["value"][1])
        case _:
            return "the query gives neither a scalar nor a vector"
