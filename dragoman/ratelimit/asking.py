"""Limits asked by hand: `POST /json` beside metrics and health, as envoyproxy/ratelimit has it.

The body is a RateLimitRequest in protobuf's JSON, the answer a RateLimitResponse: with status 200 where the
request passes, 429 where it is denied. It counts like any other call. `server` puts it on its page.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from typing import Final

from dragoman import proto
from dragoman.proto.envoy.service.ratelimit import v3 as rls
from dragoman.ratelimit.transport import base as transport

_PATIENCE: Final = 60.0
"""Seconds that a leaky bucket may make somebody wait."""


class _Call(transport.Call):
    """A call whose outcome somebody waits for."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(transport.Peer("page"), loop.time() + _PATIENCE, ())
        self.outcome: asyncio.Future[transport.Outcome] = loop.create_future()

    def finish(self, outcome: transport.Outcome) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)


async def ask(handler: transport.Handler, text: str) -> tuple[int, str]:
    """Status and JSON. `handler` is that of ShouldRateLimit."""
    try:
        data = json.loads(text)
        if not isinstance(data, dict):
            raise ValueError("the body should be a mapping")
        asked = proto.from_dict(rls.RateLimitRequest, data)
    except ValueError as failure:
        return 400, _error(str(failure))
    outcome = await _outcome(handler, asked.SerializeToString())
    if isinstance(outcome, transport.Status):
        wrong = outcome.code is transport.Code.INVALID_ARGUMENT
        return 400 if wrong else 500, _error(outcome.message)
    response = rls.RateLimitResponse.FromString(outcome)
    denied = response.overall_code == rls.RateLimitResponse.OVER_LIMIT
    return 429 if denied else 200, json.dumps(proto.to_dict(response, proto_names=False))


def _error(message: str) -> str:
    return json.dumps({"error": message})


async def _outcome(handler: transport.Handler, message: bytes) -> transport.Outcome:
    call = _Call()
    found = handler(message, call)
    if found is transport.LATER:
        return await call.outcome
    return await found if inspect.isawaitable(found) else found
