"""Ports and waiting: the two things every test with processes needs.

`until` polls a condition with a limit that is there only to end a broken test; nothing is ever asserted about
how long something took.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
import time
from collections.abc import Callable
from typing import Any


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


async def until(
    what: str,
    condition: Callable[[], Any],
    *,
    limit: float = 45.0,
    pause: float = 0.01,
) -> Any:
    """The first truthy value of `condition`; `AssertionError` naming `what` when none comes within `limit`
    seconds.

    `OSError` in the condition (a server that is not up yet) counts as "not yet".
    """
    end = time.monotonic() + limit
    last: object = None
    while True:
        try:
            value = condition()
            found = await value if inspect.isawaitable(value) else value
            if found:
                return found
            last = found
        except OSError as failure:
            last = failure
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not so within {limit:g} s (last seen: {last!r})")
        await asyncio.sleep(pause)
