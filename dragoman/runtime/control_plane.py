"""`ControlPlane`: source, pipeline, xDS server, admin server and companions, started and stopped together.

The order of starting: the ports first, so that one that is taken is noticed at once, then everything there is
is read and translated. Until that is done /readyz says no, and a stream is ended with UNAVAILABLE: no proxy
ever sees a configuration that is not complete. The order of stopping: readiness off, companions, streams
drained, admin."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

from dragoman import config, garbage
from dragoman.admin import server as admin
from dragoman.graph.pipeline import Pipeline
from dragoman.rollout import access_log, controller, state
from dragoman.runtime import (
    authz,
    chronicle,
    faults,
    feed,
    fetching,
    gauges,
    groups,
    ratelimits,
    signals,
    trusts,
)
from dragoman.runtime.companions import Companion
from dragoman.sources import base
from dragoman.telemetry.logs import fields
from dragoman.telemetry.metrics import Metrics
from dragoman.xds.ledger import Ledger
from dragoman.xds.server import Server
from dragoman.xds.types import Rejection

log = logging.getLogger("dragoman.runtime")

_RETRY: Final = 1.0
"""Seconds before a source that broke is read again."""
_TIDY: Final = 15.0
_QUIET: Final = 0.005
"""Seconds after a batch at which it is written down."""


class ControlPlane:
    """One control plane over one source. Make it inside a running event loop.

    `started` is called once, when it serves and the companions do. It is its own `admin.api.State`.
    """

    def __init__(
        self,
        settings: config.Settings,
        source: base.Source,
        *,
        companions: Sequence[Companion] = (),
        started: Callable[[ControlPlane], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self.started = time.time()
        self.metrics = Metrics()
        self.pipeline = Pipeline(settings)
        self.ledger = Ledger()
        self._source = source
        self._companions = tuple(companions)
        self._announce = started
        self._stop = asyncio.Event()
        self._hurry = False
        self._why = "starting"
        self._chronicle = chronicle.Chronicle(self.pipeline, self.metrics)
        self._feed = feed.Feed(self.pipeline, settings.batch, self._applied)
        counts = gauges.Counts(self.metrics)
        self._groups = groups.Groups(
            self.pipeline, settings.xds.group_grace, self._feed.settle, counts.forget
        )
        self.xds_port = settings.xds.port
        file = state.File(state.path(settings))
        self.rollouts = controller.Controller(
            self.pipeline,
            self._feed.nudge,
            file,
            count=lambda rollout, verdict: self.metrics.verdicts.labels(rollout, verdict).inc(),
        )
        self._fetcher = fetching.Fetcher(self.pipeline, self._feed.nudge, settings.fetching)
        self._reports = access_log.Service(settings.xds, self.rollouts.heard)
        self.xds = Server(
            settings.xds,
            self._groups,
            self.ledger,
            [self._reports.handler()],
            lazy=settings.gateways.lazy_clusters,
        )
        self.admin = admin.make(self, settings.admin.address, settings.admin.port)
        self.ledger.observer = counts
        self.ledger.on_rejection(self._rejected)
        self.ledger.on_recovery(self._recovered)
        gauges.mirror(self.metrics, self.pipeline, self._groups, self._chronicle, self.not_ready)
        gauges.mirror_rollouts(self.metrics, self.rollouts)
        gauges.mirror_throttle(self.metrics, self.xds.throttle)

    def not_ready(self) -> str:
        """Why proxies are not served; "" when they are."""
        return self._why

    def settle(self) -> None:
        """Finishes the batch in work, if there is one."""
        self._feed.settle()

    def stop(self) -> None:
        """Asks for a graceful end. Returns at once."""
        self._stop.set()

    async def run(self) -> None:
        """Runs until `stop`, SIGINT or SIGTERM. Raises `faults.StartError` when it cannot start."""
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._run(tasks)
            log.info("stopped")
        except* faults.StartError as failed:
            first: BaseException = failed
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            raise first from None

    async def _run(self, tasks: asyncio.TaskGroup) -> None:
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(self._signals())
            settings = self.settings
            await _listen(self.admin.start, "the admin server", settings.admin, "--admin-port")
            stack.push_async_callback(self.admin.stop)
            self.xds_port = await _listen(self.xds.start, "the xDS server", settings.xds, "--xds-port")
            stack.push_async_callback(self._drain)
            stack.callback(self._reports.close)
            stack.callback(self._groups.close)
            self.rollouts.restore()
            service = ratelimits.RateLimits(settings.ratelimit, self.pipeline, self.metrics)
            stack.push_async_callback(service.stop)
            await service.start()
            lookups = authz.Authz(settings.authz, self.pipeline, self.metrics)
            stack.push_async_callback(lookups.stop)
            lookups.start()
            await self._load()
            work = (self._feed.run(), self._watch(), self._tidy(), self.rollouts.run(), self._fetcher.run())
            renewal = trusts.follow((service, lookups), self._feed.nudge)
            self._supervise(tasks, stack, *work, renewal)
            await lookups.check()
            # Whom to believe should be known before the first proxy asks.
            await self._fetcher.first(settings.fetching.patience, self._feed.settle)
            self._groups.ready.set()
            self._why = ""
            after = f"{time.time() - self.started:.2f}s"
            xds = f"{settings.xds.address}:{self.xds_port}"
            log.info("ready", extra=fields(xds=xds, admin=self.admin.url, after=after))
            for companion in self._companions:
                await self._accompany(tasks, stack, companion)
            if not self._stop.is_set():
                self._announce(self)
            await self._stop.wait()
            self._why = "stopping"
            log.info("stopping")

    async def _drain(self) -> None:
        await self.xds.stop(0.0 if self._hurry else self.settings.xds.drain)

    async def _load(self) -> None:
        """The first configuration, whole."""
        with garbage.spared():
            try:
                await self._feed.begin(self._source.pieces())
            except OSError as error:
                raise faults.cannot_read(error) from None
            await self._feed.work()

    async def _watch(self) -> None:
        """Follows the source. What breaks it is logged, and it is followed anew; serving goes on."""
        while True:
            try:
                async for update in self._source.watch():
                    self._feed.offer(update)
                return
            except Exception:
                log.exception("the source broke; reading it again in %.0f s", _RETRY)
            await asyncio.sleep(_RETRY)
            try:
                self._feed.offer(self._source.load())
            except OSError as error:
                log.error("the source cannot be read: %s", error)

    async def _tidy(self) -> None:
        """Lets go what was only kept for proxies to follow."""
        while True:
            await asyncio.sleep(_TIDY)
            self._feed.settle()
            self.pipeline.expire()

    def _applied(self, batch: feed.Batch) -> None:
        # After the streams had their turns: what is written down can wait, what is sent cannot.
        changed = self._groups.take_changed()
        asyncio.get_running_loop().call_later(_QUIET, self._chronicle.batch, batch, changed)

    def _rejected(self, rejection: Rejection) -> None:
        """A NACK: to the objects behind it. The ledger has logged Envoy's words."""
        self.pipeline.report_rejection(rejection)
        self._chronicle.findings()

    def _recovered(self, node: str, type_url: str) -> None:
        self.pipeline.clear_rejection(node, type_url)
        self._chronicle.findings()

    async def _accompany(
        self, tasks: asyncio.TaskGroup, stack: contextlib.AsyncExitStack, companion: Companion
    ) -> None:
        """Starts a companion and waits until it does its work, or until there is a wish to stop."""
        if self._stop.is_set():
            return
        ready = asyncio.Event()
        work = tasks.create_task(companion.run(ready.set), name=companion.name)

        async def end() -> None:
            work.cancel()
            await asyncio.wait({work})

        stack.push_async_callback(end)
        waits = [tasks.create_task(event.wait()) for event in (ready, self._stop)]
        await asyncio.wait({work, *waits}, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    def _supervise(
        self, tasks: asyncio.TaskGroup, stack: contextlib.AsyncExitStack, *work: Coroutine[Any, Any, None]
    ) -> None:
        """Runs `work` beside everything else, until the stack unwinds to here."""
        for coroutine in work:
            stack.callback(tasks.create_task(coroutine).cancel)

    def _signals(self) -> contextlib.AbstractContextManager[None]:
        """The first SIGINT or SIGTERM asks for a graceful end, the second one for a quick one that leaves no
        Envoy behind.
        """

        def received(number: signal.Signals) -> None:
            if not self._stop.is_set():
                self.stop()
                return
            if self._hurry:
                os._exit(128 + number)
            log.warning("%s again: no more waiting", number.name)
            self._hurry = True
            for companion in self._companions:
                companion.kill()

        return signals.heard(received)


async def _listen(
    start: Callable[[], Awaitable[int]], what: str, settings: config.Xds | config.Admin, setting: str
) -> int:
    try:
        faults.probe(settings.address, settings.port)
        return await start()
    except OSError as error:
        raise faults.cannot_listen(what, settings.address, settings.port, error, setting) from None
