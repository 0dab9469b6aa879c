"""Certificates of a server's port, from files that are read again when they change.

What cannot be used changes nothing. One `Certificates` serves one port: `context` and `refresh` for asyncio's
ssl, `credentials` for gRPC. Used by the xDS server and the rate-limit service.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Any, Final, Protocol

import grpc

log: Final = logging.getLogger(__name__)


class Files(Protocol):
    """Certificate and key in PEM; with `client_ca` clients must show a certificate of it."""

    @property
    def certificate(self) -> Path: ...

    @property
    def key(self) -> Path: ...

    @property
    def client_ca(self) -> Path | None: ...


class Certificates:
    """Certificate, key and client CA from files; `whose` they are, for the log. Raises `OSError`
    (`ssl.SSLError` is one) if they cannot be used."""

    def __init__(self, tls: Files, whose: str) -> None:
        self._tls = tls
        self._whose = whose
        self._seen = self._stamp()
        self._current = self._load()

    @property
    def context(self) -> ssl.SSLContext:
        """For a server. A new certificate has a context of its own, so that no session begun under the old
        one is resumed."""
        return self._current

    def credentials(self) -> grpc.ServerCredentials:
        """For gRPC. It asks `_renewed`, in a thread of its own, before each handshake."""
        required = self._tls.client_ca is not None
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(), self._renewed, require_client_authentication=required
        )

    def _renewed(self) -> Any:
        try:
            return self._configuration() if self.refresh() else None
        except (OSError, ValueError) as failure:  # changed again between the two looks
            log.warning("DRG4103 %s", failure)
            return None

    def refresh(self) -> bool:
        """Looks at the files again (a `stat` each). True if there is something new, and it can be used."""
        try:
            stamp = self._stamp()
            if stamp == self._seen:
                return False
            self._current = self._load()
        except (OSError, ValueError) as failure:
            log.warning(
                "DRG4103 the new certificate of %s is not usable, the old one stays: %s", self._whose, failure
            )
            return False
        self._seen = stamp
        log.info("the certificate of %s was replaced", self._whose)
        return True

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        """Changes when a file does, or a link on the way to it."""
        tls = self._tls
        stats = [path.stat() for path in (tls.certificate, tls.key, tls.client_ca) if path is not None]
        return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._tls.certificate, self._tls.key)
        context.set_alpn_protocols(["h2"])  # RFC 9113 section 3.2
        if self._tls.client_ca is not None:
            context.load_verify_locations(self._tls.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _configuration(self) -> Any:
        tls = self._tls
        authority = tls.client_ca.read_bytes() if tls.client_ca is not None else None
        pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=authority)
