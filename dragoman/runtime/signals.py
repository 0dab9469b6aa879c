"""SIGINT and SIGTERM, while something runs. Used by who runs a process: `control_plane` and `lookups`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def heard(received: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Calls `received` in the running loop for each signal."""
    loop = asyncio.get_running_loop()
    try:
        for number in _NUMBERS:
            loop.add_signal_handler(number, received, number)
    except (RuntimeError, ValueError):
        # Not the main thread (embedded, or under test): whoever runs us calls `stop`.
        yield
        return
    try:
        yield
    finally:
        for number in _NUMBERS:
            loop.remove_signal_handler(number)
