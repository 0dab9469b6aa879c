"""Limits asked by hand: `POST /json` beside metrics and health, as envoyproxy/ratelimit has it.

The body is a RateLimitRequest in protobuf's JSON, the answer a RateLimitResponse: with status 200 where the
request passes, 429 where it is denied. It counts like any other call. `server` puts it on its page.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from typing import Final

from aiohttp import typedefs, web

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


def page(handler: transport.Handler) -> typedefs.Handler:
    """`handler` is that of ShouldRateLimit."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if "Origin" in request.headers:  # a page of somebody else's, in a browser on this machine
            return web.Response(status=403, text="not for browsers\n")
        try:
            data = await request.json()
            if not isinstance(data, dict):
                raise ValueError("the body should be a mapping")
            asked = proto.from_dict(rls.RateLimitRequest, data)
        except ValueError as failure:
            return web.Response(status=400, text=f"{failure}\n")
        outcome = await _outcome(handler, asked.SerializeToString())
        if isinstance(outcome, transport.Status):
            wrong = outcome.code is transport.Code.INVALID_ARGUMENT
            return web.Response(status=400 if wrong else 500, text=f"{outcome.message}\n")
        response = rls.RateLimitResponse.FromString(outcome)
        denied = response.overall_code == rls.RateLimitResponse.OVER_LIMIT
        said = json.dumps(proto.to_dict(response, proto_names=False))
        return web.Response(status=429 if denied else 200, text=said, content_type="application/json")

    return answer


async def _outcome(handler: transport.Handler, message: bytes) -> transport.Outcome:
    call = _Call()
    found = handler(message, call)
    if found is transport.LATER:
        return await call.outcome
    return await found if inspect.isawaitable(found) else found
