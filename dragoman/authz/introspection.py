"""Tokens of one policy: remembered, or asked for, and asked for once however many requests wait.

A question is a task of its own: a client that goes away takes no answer from the others. Errors are shared by
those who wait for the same answer and remembered by nobody.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Final

from dragoman.authz import claims, client
from dragoman.authz.cache import Cache, Clock
from dragoman.authz.metrics import Metrics
from dragoman.authz.verdicts import Denial, Trouble, Verdict
from dragoman.ir import model as ir
from dragoman.telemetry.logs import fields

log = logging.getLogger(__name__)

_TOKEN: Final = re.compile(r"[!-+\--~]{1,8192}")
"""Visible ASCII, but for the comma: two tokens in two headers come joined by one."""

_MISSING: Final = Denial(401, "unauthorized", "a token is needed", "missing", "missing")
_FORM: Final = Denial(401, "invalid_token", "this is no token", "malformed", "invalid_token")

MISSING: Final = _MISSING


class Tokens:
    """`known` answers at once or not at all, `find` asks."""

    def __init__(
        self, told: ir.Introspector, ask: client.Ask, metrics: Metrics, cache: Cache, clock: Clock
    ) -> None:
        self.told = told
        self.cache = cache
        self._ask = ask
        self._metrics = metrics
        self._clock = clock
        self._flights: dict[bytes, asyncio.Task[Verdict | Trouble]] = {}
        self._trouble = ""

    def known(self, token: str) -> Verdict | None:
        """What is remembered, and what needs no asking."""
        if not _TOKEN.fullmatch(token):
            return _FORM
        return self.cache.get(self.cache.key(token))

    async def find(self, token: str) -> Verdict | Trouble:
        """Asks the issuer, or joins those who are asking for the same token."""
        key = self.cache.key(token)
        flight = self._flights.get(key)
        if flight is None:
            self._metrics.cache("miss", self.told.policy)
            flight = asyncio.create_task(self._fly(key, token))
            self._flights[key] = flight
            flight.add_done_callback(lambda _: self._flights.pop(key, None))
        else:
            self._metrics.cache("joined", self.told.policy)
        return await asyncio.shield(flight)

    async def stop(self) -> None:
        """Ends what is under way."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def _fly(self, key: bytes, token: str) -> Verdict | Trouble:
        begin = self._clock.steady()
        body = await self._ask(self.told, token)
        now = self._clock.wall()
        judged = body if isinstance(body, Trouble) else claims.judge(self.told, body, now)
        outcome = judged.reason if isinstance(judged, Trouble) else "active" if judged.active else "inactive"
        self._metrics.asked(self.told.policy, outcome, self._clock.steady() - begin)
        self._note(judged.reason if isinstance(judged, Trouble) else "")
        if isinstance(judged, Trouble):
            return judged
        if not isinstance(judged.verdict, Denial):
            self.cache.put(key, judged.verdict, good=True, ttl=self.told.ttl, end=judged.end)
        else:
            # A token that is not valid yet is asked for again when it is.
            begins = judged.begin if judged.begin > now else float("inf")
            self.cache.put(key, judged.verdict, good=False, ttl=self.told.negative, end=begins)
        return judged.verdict

    def _note(self, reason: str) -> None:
        """Says it once when an issuer goes, and once when it is back."""
        if reason == self._trouble:
            return
        self._trouble = reason
        told = fields(policy=self.told.policy, endpoint=self.told.endpoint, why=reason)
        if reason:
            log.warning("tokens cannot be looked up", extra=told)
        else:
            log.info("tokens are looked up again", extra=fields(policy=self.told.policy))
