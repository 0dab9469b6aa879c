"""Ports and waiting: the two things every test with processes needs.

Ports are below those that the system gives away itself (to clients, and to servers that ask for any): one of
these may be taken by somebody else between the question and its use, and Envoys even share a port in
silence (SO_REUSEPORT). Each worker of pytest-xdist walks a stretch of its own, from a place by chance.

`until` polls a condition with a limit that is there only to end a broken test; nothing is ever asserted about
how long something took.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

_FIRST: Final = 20_000
_STRETCH: Final = 1_500
_STRETCHES: Final = 8


def _walk() -> Iterator[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _STRETCHES
    start = random.SystemRandom().randrange(_STRETCH)
    for step in itertools.count(start):
        yield _FIRST + worker * _STRETCH + step % _STRETCH


_ports: Final = _walk()


def free_port(address: str = "127.0.0.1") -> int:
    """A port that nobody listens on at this moment, by TCP or UDP, and that is not handed out again soon."""
    for port in itertools.islice(_ports, _STRETCH):
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as probe:
                    probe.bind((address, port))
        except OSError:
            continue
        return port
    raise AssertionError("no port is free")


async def until(
    what: str,
    condition: Callable[[], Any],
    *,
    limit: float = 45.0,
    pause: float = 0.01,
) -> Any:
    """The first truthy value of `condition`; `AssertionError` naming `what` when none comes within `limit`
    seconds.

    `OSError` in the condition (a server that is not up yet) counts as "not yet". A pause in which nobody ran
    (a machine that was stopped for a while) counts for a second at most: the others were not there either.
    """
    waited = 0.0
    last: object = None
    seen = time.monotonic()
    while True:
        try:
            value = condition()
            found = await value if inspect.isawaitable(value) else value
            if found:
                return found
            last = found
        except OSError as failure:
            last = failure
        now = time.monotonic()
        waited += min(now - seen, 1.0)
        seen = now
        if waited > limit:
            raise AssertionError(f"{what}: not so within {limit:g} s (last seen: {last!r})")
        await asyncio.sleep(pause)
