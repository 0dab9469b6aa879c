"""The service with everything around it: store, transport, files, metrics and health.

`Server` is what `dragoman ratelimit` runs, and what a control plane can run beside itself: without files it
waits for whoever calls `service.load`. Everything listens on loopback unless told otherwise.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from dragoman import pages
from dragoman.diagnostics import Diagnostic, Severity
from dragoman.ratelimit import asking, configuration, metrics, reflection, rules, service, tracing
from dragoman.ratelimit.rlqs import service as quotas
from dragoman.ratelimit.stores import base as stores, guard, memory
from dragoman.ratelimit.stores.redis import cluster, store as redis
from dragoman.ratelimit.transport import base as transport
from dragoman.redis import url
from dragoman.sources import files, texts
from dragoman.telemetry import logs

log = logging.getLogger(__name__)

Carrier = Literal["http2", "grpc"]


@dataclass(frozen=True, slots=True)
class Settings:
    """`store`: `memory`, or a URL that `stores.redis.url` reads. `patience`: seconds that Redis may take.
    `instances`: how many services share the counts, for limits that count locally while Redis is away.
    `streams`: where gRPC's own server listens for what the thin one cannot carry (quotas, health watches,
    reflection); None for nowhere. With the carrier `grpc` they are on `listen` in any case.
    `admin_port` None: no HTTP server for metrics and health. `traces`: HOST:PORT of a collector (OTLP).
    `on_error`: of limits in files that say nothing of it.
    """

    store: str = "memory"
    carrier: Carrier = "http2"
    listen: transport.Settings = field(default_factory=transport.Settings)
    streams: transport.Settings | None = None
    admin_address: str = "127.0.0.1"
    admin_port: int | None = None
    patience: float = redis.PATIENCE
    prefix: str = redis.PREFIX
    instances: int = 1
    merge_domains: bool = False
    presentation: rules.Presentation = rules.SILENT
    on_error: rules.OnError = rules.OnError.OPEN
    traces: str = ""
    options: service.Options = field(default_factory=service.Options)


class Server:
    """`start` listens (OSError where it cannot), `follow` keeps up with files, `stop` drains.

    Raises ValueError for a store that is none. `port`, `streams_port` and `admin_port` are there after
    `start`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = metrics.Metrics()
        self.port = 0
        self.streams_port = 0
        self.admin_port = 0
        self._store = self._make_store()
        self.service = service.Service(self._store, self.metrics, settings.options)
        self.quotas = quotas.Quotas(self.metrics, settings.instances)
        self.service.followers.append(self.quotas.load)
        self.metrics.mirror(
            "quota_buckets_refused",
            "Buckets of quotas that got no assignment.",
            "reason",
            lambda: {"bounds": self.quotas.refused},
        )
        self.configuration = configuration.Configuration(
            settings.merge_domains, settings.presentation, settings.on_error
        )
        self._transport: transport.Server | None = None
        self._streams: transport.Server | None = None
        self._admin: pages.Server | None = None

    async def start(self) -> None:
        await self._store.start()
        if self.settings.traces:
            tracer = self.service.tracer = tracing.Tracer(self.settings.traces)
            tracer.start()
            self.metrics.mirror(
                "spans",
                "Spans, by what became of them.",
                "outcome",
                lambda: {"sent": tracer.sent, "dropped": tracer.dropped},
            )
        self._transport = self._make_transport()
        self.port = await self._transport.start()
        if self.settings.streams is not None:
            self._streams = self._grpc(self.settings.streams)
            self.streams_port = await self._streams.start()
        if self.settings.admin_port is not None:
            await self._start_admin(self.settings.admin_port)

    async def stop(self, grace: float = 0.0) -> None:
        """Fails health checks, goes on for `grace` seconds until Envoys have noticed, lets calls under way
        end, and closes.
        """
        self.service.drain()
        await asyncio.sleep(grace)
        await asyncio.gather(*(each.stop() for each in (self._transport, self._streams) if each is not None))
        if self.service.tracer is not None:
            await self.service.tracer.stop()
        if self._admin is not None:
            await self._admin.stop()
        await self._store.stop()

    def load(self, source: files.Files) -> list[Diagnostic]:
        """Takes the files as they are, if nothing is wrong with them; what is. Raises OSError for a path that
        is not there.
        """
        self.configuration.apply(source.load())
        found = self.configuration.diagnostics()
        if _faults(found):
            self.metrics.loads["refused"] += 1
        else:
            self.service.load(self.configuration.table())
        return found

    async def follow(self, source: files.Files) -> None:
        """Takes every change of the files, until cancelled."""
        async for update in source.watch():
            self.configuration.apply(update)
            found = self.configuration.diagnostics()
            faults = _faults(found)
            for each in found:
                log.log(
                    logging.ERROR if each.severity is Severity.ERROR else logging.WARNING,
                    "%s: %s",
                    each.span or "rate limits",
                    each.message,
                    extra=logs.fields(code=each.code),
                )
            if faults:
                self.metrics.loads["refused"] += 1
            # A file with a fault goes on with its last good form; the others are taken.
            table = self.configuration.table()
            self.service.load(table)
            log.info("rate limits loaded", extra=logs.fields(limits=len(table), faults=faults))

    def _make_store(self) -> stores.Store:
        settings = self.settings
        if settings.store == "memory":
            here = memory.Memory()
            self.metrics.mirror(
                "evicted_keys", "Keys that had to make room.", "store", lambda: {"memory": here.evicted}
            )
            return here
        there = cluster.connect(url.parse(settings.store), settings.patience, settings.prefix)
        guarded = guard.Guard(there, settings.instances)
        self.metrics.mirror(
            "store_failures", "Decisions that the store did not make.", "reason", lambda: dict(there.failures)
        )
        self.metrics.mirror(
            "decisions_without_store",
            "Decisions made while the store did not answer.",
            "mode",
            lambda: {mode.value: guarded.without[mode] for mode in rules.OnError},
        )
        return guarded

    def _make_transport(self) -> transport.Server:
        if self.settings.carrier == "grpc":
            return self._grpc(self.settings.listen)
        from dragoman.ratelimit.transport.http2 import server as http2

        return http2.Server(self.settings.listen, self.service.handlers())

    def _grpc(self, listen: transport.Settings) -> transport.Server:
        from dragoman.ratelimit.transport import grpc_aio

        listen = replace(listen, max_message=max(listen.max_message, quotas.LARGEST))
        handlers = self.service.handlers()
        streams = {**self.service.streams(), **self.quotas.streams()}
        told = reflection.Reflection([*handlers, *streams])
        return grpc_aio.Server(listen, handlers, {**streams, **told.streams()})

    async def _start_admin(self, port: int) -> None:
        app = pages.application(self._health, self.metrics.text)
        handler = self.service.should_rate_limit
        app.router.add_post("/json", pages.question(functools.partial(asking.ask, handler)))
        self._admin = pages.Server(app, self.settings.admin_address, port)
        self.admin_port = await self._admin.start()

    def _health(self) -> tuple[bool, dict[str, object]]:
        """A store that is away is told, and no reason to go: what limits do then they say themselves."""
        store = "up" if self._store.healthy() else "away"
        return self.service.ready, {"state": self.service.state.value, "store": store}


def source(paths: Iterable[str]) -> files.Files:
    """The source of a configuration's files."""
    return files.Files(list(paths), held=texts.Texts())


def _faults(found: Iterable[Diagnostic]) -> int:
    return sum(each.severity is Severity.ERROR for each in found)
