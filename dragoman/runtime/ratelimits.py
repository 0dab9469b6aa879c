"""Rate limits of the control plane: to the service inside it, and to those that run elsewhere.

The service listens before anything is read, so that its port is known when Envoys are told of it, and it goes
when the companions have. A changed limit is loaded before the proxies' configuration is handed on: none of
them asks for a limit that the service does not know. Services that run elsewhere hear of it by ADS at the
same time; until they have, what they do not know passes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable

from dragoman import config, resource
from dragoman.envoy import ratelimit_service
from dragoman.graph.pipeline import Pipeline
from dragoman.ir import model as ir
from dragoman.ratelimit import goresources, policies, published, rules, server
from dragoman.ratelimit.transport import base
from dragoman.runtime import faults, trusts
from dragoman.telemetry.metrics import Metrics

log = logging.getLogger("dragoman.runtime")

Told = dict[tuple[str, str], resource.Resource]


class RateLimits:
    """`start` may raise `faults.StartError`. The service's metrics are on the control plane's page."""

    def __init__(self, settings: config.RateLimit, pipeline: Pipeline, metrics: Metrics) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._metrics = metrics
        self._limits = policies.Limits()
        self._server: server.Server | None = None
        self._trust: trusts.Trust | None = None
        self._said: dict[str, tuple[frozenset[ir.RateLimit], Told]] = {}
        self._unkept: frozenset[str] = frozenset()

    async def start(self) -> None:
        own = self._settings
        if own.trust is not None:
            name = own.asked[0][0] if own.endpoints else own.reached
            self._trust = trusts.Trust(own.trust, name, "ratelimit.trust")
        if own.inside:
            await self._serve(own)
        self._pipeline.count_limits(*self._places(), self._take)

    def refresh(self) -> bool:
        return self._trust is not None and self._trust.refresh()

    def place(self) -> None:
        self._pipeline.place_limits(*self._places())

    def _places(self) -> tuple[ratelimit_service.Place, ratelimit_service.Place]:
        """Where the service is asked, and where it takes streams."""
        own = self._settings
        if own.endpoints:
            asked, streams = own.asked, own.streamed
        elif self._server is not None:
            asked = ((own.reached, self._server.port),)
            streams = ((own.reached, self._server.streams_port),)
        else:
            asked = ((own.reached, own.port),)
            streams = ((own.reached, own.streams_port or config.RATELIMIT_STREAMS_PORT),)
        trust = self._trust.current if self._trust is not None else None
        return ratelimit_service.Place(asked, trust), ratelimit_service.Place(streams, trust)

    async def _serve(self, own: config.RateLimit) -> None:
        tls = None
        if own.tls is not None:
            tls = base.Tls(own.tls.certificate, own.tls.key, own.tls.client_ca)
        try:
            self._server = server.Server(
                server.Settings(
                    store=own.store,
                    listen=base.Settings(own.address, own.port, tls),
                    streams=base.Settings(own.address, own.streams_port, tls),
                    admin_address=own.address,
                    admin_port=own.metrics_port,
                    patience=own.store_timeout,
                    instances=own.instances,
                    traces=own.traces,
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
        self._metrics.registry.register(self._server.metrics)
        self._take(())

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop()

    def _take(self, limits: Collection[ir.RateLimit]) -> Told:
        if self._server is not None:
            self._server.service.load(self._limits.table(limits, time.monotonic()))
        if self._settings.endpoints and not self._settings.stream_endpoints:
            self._warn(frozenset(limit.id for limit in limits if limit.quota))
        return self._publish(limits)

    def _warn(self, quotas: frozenset[str]) -> None:
        """Of quotas that no service is told of; once for each."""
        for one in sorted(quotas - self._unkept):
            log.warning(
                "the quota `%s` is not kept: `ratelimit.stream_endpoints` does not say who assigns it", one
            )
        self._unkept = quotas

    def _publish(self, limits: Iterable[ir.RateLimit]) -> Told:
        """What services elsewhere are told, Gateway by Gateway; made anew where something changed."""
        gateways: dict[str, set[ir.RateLimit]] = {}
        for limit in limits:
            gateways.setdefault(limit.gateway, set()).add(limit)
        said = {}
        for name, found in gateways.items():
            those = frozenset(found)
            before = self._said.get(name)
            said[name] = (
                before if before is not None and before[0] == those else (those, self._made(name, those))
            )
        self._said = said
        return {key: one for _, made in said.values() for key, one in made.items()}

    def _made(self, gateway: str, limits: frozenset[ir.RateLimit]) -> Told:
        made = {(resource.LIMITS, gateway): resource.make(resource.LIMITS, gateway, published.encode(limits))}
        if self._settings.go:
            asked = (
                rule
                for limit in sorted(limits, key=lambda one: one.id)
                if limit.asked
                for rule in policies.of(limit)
            )
            found = goresources.make(rules.Table(asked))
            for loss in found.losses:
                log.warning("envoyproxy/ratelimit gets less than the limit says: %s", loss)
            for name, payload in found.resources.items():
                made[resource.GO_LIMITS, name] = resource.make(resource.GO_LIMITS, name, payload)
        return made
