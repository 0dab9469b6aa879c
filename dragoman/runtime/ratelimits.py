"""The rate-limit service inside the control plane: started with it, fed by its pipeline.

It listens before anything is read, so that its port is known when Envoys are told of it, and it goes when
the companions have. A changed limit is loaded before the proxies' configuration is handed on: none of them
asks for a limit that the service does not know.
"""

from __future__ import annotations

import time
from collections.abc import Collection

from dragoman import config
from dragoman.graph.pipeline import Pipeline
from dragoman.ir import model as ir
from dragoman.ratelimit import policies, server
from dragoman.ratelimit.transport import base
from dragoman.runtime import faults


class RateLimits:
    """`start` may raise `faults.StartError`."""

    def __init__(self, settings: config.RateLimit, pipeline: Pipeline) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._limits = policies.Limits()
        self._server: server.Server | None = None

    async def start(self) -> None:
        own = self._settings
        try:
            self._server = server.Server(
                server.Settings(
                    store=own.store,
                    listen=base.Settings(own.address, own.port),
                    streams=base.Settings(own.address, own.streams_port),
                    admin_address=own.address,
                    admin_port=own.metrics_port,
                    patience=own.store_timeout,
                    instances=own.instances,
                )
            )
        except (OSError, ValueError) as error:
            raise faults.StartError("DRG5001", f"ratelimit.store: {error}") from None
        try:
            await self._server.start()
        except OSError as error:
            what = "the rate-limit service"
            raise faults.cannot_listen(
                what, own.address, own.port, error, "DRAGOMAN_RATELIMIT_PORT"
            ) from None
        self._take(())
        self._pipeline.count_limits(own.reached, self._server.port, self._server.streams_port, self._take)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop()

    def _take(self, limits: Collection[ir.RateLimit]) -> None:
        assert self._server is not None
        self._server.service.load(self._limits.table(limits, time.monotonic()))
