"""A local Envoy as a companion: bootstrap, start, wait until it serves, start it again should it end by
itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dragoman import config
from dragoman.envoy import bootstrap, process
from dragoman.envoy.admin import Admin
from dragoman.runtime import faults
from dragoman.telemetry.logs import fields

log = logging.getLogger("dragoman.envoy")

_RESTART: Final = 1.0
"""Seconds before an Envoy that ended by itself is started again."""

_READY: Final = 60.0
"""Seconds that it may take to serve its first configuration."""

_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class LocalEnvoy:
    """`group` is the node group that it asks for. The xDS port must be a fixed one, without TLS: it is this
    machine's.
    """

    name = "local Envoy"

    def __init__(self, xds: config.Xds, group: str) -> None:
        self._xds = xds
        self._group = group
        self._pid = 0

    async def run(self, ready: Callable[[], None]) -> None:
        if self._xds.tls is not None:
            raise faults.StartError(
                "DRG5006",
                "a local Envoy does not come with an xDS port that speaks TLS",
                "leave xds.tls out, or start an Envoy yourself with `dragoman bootstrap --xds-ca ...`",
            )
        if self._xds.port == 0:
            raise faults.StartError(
                "DRG5006",
                "a local Envoy must know the xDS port before it is open",
                "give --xds-port a number",
            )
        served = False
        while True:
            try:
                await self._once(ready)
                served = True  # it was ready once, or `_once` had raised
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

    async def _once(self, ready: Callable[[], None]) -> None:
        """One life of Envoy. Returns when it ended by itself after it had served; raises EnvoyFailedError
        before.
        """
        with tempfile.TemporaryDirectory(prefix="dragoman-admin-") as folder:
            admin = Admin(path=str(Path(folder) / "admin.sock"))
            async with process.running(self._bootstrap(admin), admin=admin) as envoy:
                self._pid = envoy.pid
                await envoy.ready(_READY)
                log.info("local Envoy serves", extra=fields(pid=envoy.pid))
                ready()
                code = await envoy.wait()
                log.error("Envoy ended with %d; starting it again\n%s", code, envoy.last_words)

    def _bootstrap(self, admin: Admin) -> dict[str, object]:
        return bootstrap.bootstrap(
            node_id=f"local-{os.getpid()}",
            gateways=self._group.split(","),
            xds_address=_LOOPBACK.get(self._xds.address, self._xds.address),
            xds_port=self._xds.port,
            admin=admin,
        )
