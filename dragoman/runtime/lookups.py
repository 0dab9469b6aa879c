"""The companion that looks credentials up, in a process of its own: `dragoman authz`.

It reads the same objects as the control plane, and takes from them what concerns it: AuthPolicies, the
Secrets that they name, and what issuers say of themselves. Envoys find it where the control plane's settings
say (`authz.enabled: false`, `advertised`, `port`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Collection
from typing import Final

from dragoman import config
from dragoman.authz import server
from dragoman.diagnostics import Diagnostic
from dragoman.graph.pipeline import Pipeline
from dragoman.ir import model as ir
from dragoman.runtime import authz, faults, feed, fetching, signals
from dragoman.sources import base
from dragoman.telemetry.logs import fields

log = logging.getLogger("dragoman.runtime")

_GRACE: Final = 1.5
"""Seconds for which calls are taken while health checks fail: Envoys ask every second."""


class Lookups:
    """One companion over one source. Make it inside a running event loop. `server` has the ports."""

    def __init__(
        self, settings: config.Settings, source: base.Source, started: Callable[[Lookups], None]
    ) -> None:
        own = settings.authz
        try:
            self.server = server.Server(authz.service_settings(own))
        except (OSError, ValueError) as error:
            raise faults.StartError("DRG5001", f"authz.store: {error}") from None
        self._settings = settings
        self._source = source
        self._started = started
        self._stop = asyncio.Event()
        self._hurry = False
        self._files: set[Diagnostic] = set()
        self._pipeline = Pipeline(settings)
        self._feed = feed.Feed(self._pipeline, settings.batch, self._applied)
        self._fetcher = fetching.Fetcher(self._pipeline, self._feed.nudge, settings.fetching)
        self._pipeline.ask_authz(self._take)

    def stop(self) -> None:
        """Asks for a graceful end. Returns at once."""
        self._stop.set()

    async def run(self) -> None:
        """Runs until `stop`, SIGINT or SIGTERM. Raises `faults.StartError` when it cannot start."""
        own = self._settings.authz
        try:
            faults.probe(own.address, own.port)
            self.server.bind()
        except OSError as error:
            what = "the service that looks credentials up"
            raise faults.cannot_listen(what, own.address, own.port, error, "--port") from None
        try:
            self._feed.offer(self._source.load())
        except OSError as error:
            raise faults.cannot_read(error) from None
        await self._feed.work()
        work = [
            asyncio.create_task(each)
            for each in (self._feed.run(), self._watch(), self._fetcher.run(), self._stop.wait())
        ]
        with self._signals():
            try:
                await self._fetcher.first(self._settings.fetching.patience, self._feed.settle)
                await self._serve()
                self._started(self)
                await asyncio.wait({work[0], work[2], work[3]}, return_when=asyncio.FIRST_COMPLETED)
                await self.server.stop(0.0 if self._hurry else _GRACE)
            finally:
                for each in work:
                    each.cancel()
                await asyncio.gather(*work, return_exceptions=True)

    async def _serve(self) -> None:
        own = self._settings.authz
        try:
            await self.server.start()
        except OSError as error:
            port = own.metrics_port or 0
            raise faults.cannot_listen("metrics", own.address, port, error, "--metrics-port") from None

    async def _watch(self) -> None:
        async for update in self._source.watch():
            self._feed.offer(update)

    def _take(self, asked: Collection[ir.Asked]) -> None:
        self.server.service.load(asked)
        log.info(
            "policies loaded", extra=fields(policies=sum(not isinstance(one, ir.Members) for one in asked))
        )
        if not self._settings.authz.store and any(isinstance(one, ir.KeyReader) for one in asked):
            log.error("policies look API keys up in Redis, and no --store says where that is")

    def _applied(self, batch: feed.Batch) -> None:
        """Says what is wrong with what it depends on; all else is the control plane's to say. Files are its
        own: the control plane may have others, or read those that it cannot.
        """
        files: set[Diagnostic] = set()
        for one in self._pipeline.diagnostics():
            if one.ref is None:
                files.add(one)
                if one not in self._files:
                    log.error("%s: %s", one.span, one.message, extra=fields(code=one.code))
            if one.code == "DRG1841" and one.ref in batch.changes:
                log.warning("%s", one.message, extra=fields(code=one.code, object=str(one.ref)))
        self._files = files

    def _signals(self) -> contextlib.AbstractContextManager[None]:
        def received(number: signal.Signals) -> None:
            # Ctrl-C is somebody who waits; so is a second signal.
            self._hurry = self._hurry or number is signal.SIGINT or self._stop.is_set()
            self.stop()

        return signals.heard(received)
