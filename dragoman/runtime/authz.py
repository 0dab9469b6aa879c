"""The companion that looks credentials up, inside the control plane: started when a policy first needs it,
fed by the pipeline.

Its port is taken in the same step in which the first policy is handed on, so the Envoys that hear of the
policy hear of the port. Policies are loaded before the proxies' configuration is: none of them asks for a
policy that the companion does not know. Once started it stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

from dragoman import config
from dragoman.authz import server
from dragoman.graph.pipeline import Pipeline
from dragoman.ir import model as ir
from dragoman.runtime import faults

log = logging.getLogger(__name__)


def service_settings(own: config.Authz) -> server.Settings:
    """What the companion's settings say to its server."""
    return server.Settings(
        address=own.address,
        port=own.port,
        admin_address=own.address,
        admin_port=own.metrics_port,
        store=own.store,
        patience=own.store_timeout,
        most=own.cache_entries,
    )


class Authz:
    """`start` says what is to happen; `check` raises `faults.StartError` where it did not; `stop`."""

    def __init__(self, settings: config.Authz, pipeline: Pipeline) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._server: server.Server | None = None
        self._starting: asyncio.Task[None] | None = None
        self._failure: faults.StartError | None = None

    def start(self) -> None:
        self._pipeline.ask_authz(self._take)

    async def check(self) -> None:
        """Waits until it serves, if anything needs it. To be called when everything has been read."""
        if self._starting is not None:
            await self._starting
        if self._failure is not None:
            raise self._failure

    async def stop(self) -> None:
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._server is not None:
            await self._server.stop()

    def _take(self, asked: Collection[ir.Asked]) -> tuple[str, int] | None:
        """Where Envoys find it; None while nobody needs it, or it cannot be."""
        if self._server is None and (not asked or not self._make()):
            return None
        assert self._server is not None
        self._server.service.load(asked)
        if not self._settings.store and any(isinstance(one, ir.KeyReader) for one in asked):
            log.error("policies look API keys up in Redis, and the setting authz.store names none")
        return self._settings.reached, self._server.port

    def _make(self) -> bool:
        own = self._settings
        try:
            made = server.Server(service_settings(own))
        except (OSError, ValueError) as error:
            self._fail(faults.StartError("DRG5001", f"authz.store: {error}"))
            return False
        try:
            faults.probe(own.address, own.port)  # gRPC says nothing of the reason
            made.bind()
        except OSError as error:
            what = "the service that looks credentials up"
            self._fail(faults.cannot_listen(what, own.address, own.port, error, "DRAGOMAN_AUTHZ_PORT"))
            return False
        self._server = made
        self._starting = asyncio.get_running_loop().create_task(self._serve(made))
        return True

    async def _serve(self, made: server.Server) -> None:
        try:
            await made.start()
        except OSError as error:
            port = self._settings.metrics_port or 0
            what = "the metrics of the service that looks credentials up"
            self._fail(
                faults.cannot_listen(what, self._settings.address, port, error, "DRAGOMAN_AUTHZ_METRICS_PORT")
            )

    def _fail(self, failure: faults.StartError) -> None:
        if self._failure is None:
            log.error("credentials cannot be looked up: %s", failure)
        self._failure = failure
