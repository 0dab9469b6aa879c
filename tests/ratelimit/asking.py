"""Asking stores in tests: asks by hand, and awaiting decisions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dragoman.ratelimit import rules
from dragoman.ratelimit.algorithms import Algorithm, Decision
from dragoman.ratelimit.stores import base


def ask(
    algorithm: Algorithm, key: str, hits: int = 1, on_error: rules.OnError = rules.OnError.OPEN
) -> base.Ask:
    return base.Ask(
        rules.Limit(algorithm, on_error=on_error), algorithm, b"{%b}%b" % (key.encode(), algorithm.code), hits
    )


async def take(store: base.Store, *asks: base.Ask) -> Sequence[Decision | None]:
    future: asyncio.Future[Sequence[Decision | None]] = asyncio.get_running_loop().create_future()
    store.take(asks, future.set_result)
    return await future
