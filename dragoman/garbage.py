"""The cyclic garbage collector, out of the way while much is made that stays.

Going through it again and again would take most of the time. What was made is frozen afterwards: still freed
by its reference count, but never searched for cycles. Used wherever configuration is read or built in bulk.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


def begin() -> None:
    """Switches the collector on, for commands that stay (the command line begins without it). What was
    imported until now is not searched."""
    gc.freeze()
    gc.enable()


@contextlib.contextmanager
def spared(active: bool = True) -> Iterator[None]:
    """Stops the collector for as long, unless somebody has done so already. Not `active`: does nothing."""
    if not active or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
