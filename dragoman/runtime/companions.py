"""What runs beside the control plane for as long as it serves: a local Envoy, demo services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Companion(Protocol):
    """Started when the control plane serves; cancelled, and waited for, before it drains."""

    name: str

    async def run(self, ready: Callable[[], None]) -> None:
        """Works until cancelled; calls `ready` when it does its work. Raises `faults.StartError` when it
        cannot.
        """

    def kill(self) -> None:
        """Somebody is tired of waiting for the end: makes it a matter of milliseconds."""
