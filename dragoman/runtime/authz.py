"""The companion that looks credentials up, inside the control plane: started when a policy first needs it,
fed by the pipeline.

Its port is taken in the same step in which the first policy is handed on, so the Envoys that hear of the
policy hear of the port. Policies are loaded before the proxies' configuration is: none of them asks for a
policy that the companion does not know. Once started it stays.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Collection

from dragoman import certificates, config
from dragoman.authz import server
from dragoman.envoy import ratelimit_service as services
from dragoman.graph.pipeline import Pipeline
from dragoman.ir import model as ir
from dragoman.runtime import faults, trusts
from dragoman.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


def service_settings(own: config.Authz) -> server.Settings:
    """What the companion's settings say to its server. Raises `faults.StartError` where credentials would
    come in as plain text from elsewhere, and for certificates that cannot be used."""
    if own.tls is None:
        _demand_tls(own, own.address, "authz.tls", "--tls-certificate and --tls-key")
    return server.Settings(
        address=own.address,
        port=own.port,
        certificates=_certificates(own.tls),
        admin_address=own.address,
        admin_port=own.metrics_port,
        store=own.store,
        patience=own.store_timeout,
        most=own.cache_entries,
    )


def _certificates(tls: config.XdsTls | None) -> certificates.Certificates | None:
    if tls is None:
        return None
    try:
        return certificates.Certificates(tls, "the service that looks credentials up")
    except (OSError, ValueError) as failure:
        place = f"{failure.filename}: " if isinstance(failure, OSError) and failure.filename else ""
        words = (failure.strerror if isinstance(failure, OSError) else "") or str(failure)
        raise faults.StartError("DRG5001", f"authz.tls: {place}{words}") from None


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:  # a name to listen at: who knows where it leads
        return address == "localhost"


def _demand_tls(own: config.Authz, address: str, setting: str, options: str = "") -> None:
    """Credentials in plain text stay on this machine, unless somebody has said that they need not."""
    if _is_loopback(address) or own.plaintext:
        return
    instead = f" (or {options})" if options else ""
    raise faults.StartError(
        "DRG5001",
        f"authz: credentials would go to {address} as plain text",
        f"say `{setting}`{instead}; or `authz.plaintext: true` where something else keeps them safe",
    )


class Authz:
    """`start` says what is to happen, and may raise `faults.StartError`; `check` raises it where it did not
    happen; `stop`. The service's metrics are on the control plane's page."""

    def __init__(self, settings: config.Authz, pipeline: Pipeline, metrics: Metrics) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._metrics = metrics
        self._server: server.Server | None = None
        self._starting: asyncio.Task[None] | None = None
        self._failure: faults.StartError | None = None
        self._service: server.Settings | None = None
        self._trust: trusts.Trust | None = None

    def start(self) -> None:
        own = self._settings
        if own.trust is not None:
            self._trust = trusts.Trust(own.trust, own.reached, "authz.trust")
        else:
            _demand_tls(own, own.reached, "authz.trust")
        if not own.enabled:
            self.place()
            return
        self._service = service_settings(own)
        if own.tls is not None and (own.trust is None or (own.tls.client_ca and not own.trust.certificate)):
            what = "trust" if own.trust is None else "trust.certificate"
            raise faults.StartError(
                "DRG5001", f"authz: with `tls`, `{what}` should say what Envoys need for it"
            )
        self._pipeline.ask_authz(self._take)

    def refresh(self) -> bool:
        return self._trust is not None and self._trust.refresh()

    def place(self) -> None:
        self._pipeline.place_authz(self._found())

    def _found(self) -> services.Place:
        """Where Envoys find it."""
        port = self._server.port if self._server is not None else self._settings.port
        trust = self._trust.current if self._trust is not None else None
        return services.Place(((self._settings.reached, port or config.AUTHZ_PORT),), trust)

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

    def _take(self, asked: Collection[ir.Asked]) -> services.Place | None:
        """Where Envoys find it; None while nobody needs it, or it cannot be."""
        if self._server is None and (not asked or not self._make()):
            return None
        assert self._server is not None
        self._server.service.load(asked)
        if not self._settings.store and any(isinstance(one, ir.KeyReader) for one in asked):
            log.error("policies look API keys up in Redis, and the setting authz.store names none")
        return self._found()

    def _make(self) -> bool:
        own = self._settings
        assert self._service is not None
        try:
            made = server.Server(self._service)
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
        self._metrics.registry.register(made.metrics)
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
