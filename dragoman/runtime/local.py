"""A local Envoy as a companion: bootstrap, start, wait until it serves, start it again should it end by itself."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from typing import Final

from dragoman import config
from dragoman.envoy import bootstrap, process
from dragoman.envoy.admin import Admin
from dragoman.runtime import faults

log = logging.getLogger("dragoman.envoy")

_RESTART: Final = 1.0
"""Seconds before an Envoy that ended by itself is started again."""


class LocalEnvoy:
    """`group` is the node group that it asks for. Raises `faults.StartError` from `run` when it never comes up."""

    name = "local Envoy"

    def __init__(self, settings: config.Settings, group: str) -> None:
        self._settings = settings
        self._group = group
        self._pid = 0

    async def run(self, ready: Callable[[], None]) -> None:
        served = False
        while True:
            try:
                await self._once(ready)
                served = True
            except process.EnvoyNotFoundError as error:
                raise faults.StartError("DRG5005", str(error)) from None
            except process.EnvoyFailedError as error:
                if not served:
                    raise faults.StartError("DRG5006", str(error)) from None
                log.error("%s", error)
            finally:
                self._pid = 0
            await asyncio.sleep(_RESTART)

    def kill(self) -> None:
        if self._pid:
            try:
                os.kill(self._pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it was faster
