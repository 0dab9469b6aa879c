"""Transport security of the xDS port: server certificates that are read again when they change, and who the
peer is.

Called by `server`. What a peer may have is decided in `groups`.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import grpc

from dragoman import config
from dragoman.xds.types import Peer

log: Final = logging.getLogger(__name__)

_SAN: Final = "x509_subject_alternative_name"


class _Context(Protocol):
    def peer(self) -> str: ...

    def auth_context(self) -> Mapping[str, Any]: ...


def peer_of(context: _Context) -> Peer:
    """The peer of a call. SANs are there only for a client certificate that the server's CA vouches for."""
    context_ = context.auth_context()
    sans = tuple(san.decode(errors="replace") for san in context_.get(_SAN, ()))
    return Peer(context.peer(), sans)


class Certificates:
    """Certificate, key and client CA from files. `credentials` makes gRPC look again at each new
    connection."""

    def __init__(self, settings: config.XdsTls) -> None:
        self._settings = settings
        self._seen = self._stamp()
        self._current = self._load()

    def credentials(self) -> grpc.ServerCredentials:
        """Server credentials that follow the files."""
        return grpc.dynamic_ssl_server_credentials(
            self._current, self.fetch, require_client_authentication=self._settings.client_ca is not None
        )

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Called by gRPC, in a thread of its own, before each handshake: what to use from now on, None for no
        change.

        Files that are half written, or do not belong together, change nothing; they are tried again next
        time.
        """
        try:
            stamp = self._stamp()
            if stamp == self._seen:
                return None
            fresh = self._load()
        except (OSError, ssl.SSLError, ValueError) as failure:
            log.warning(
                "DRG4103 the new certificate of the xDS port is not usable, the old one stays: %s", failure
            )
            return None
        self._seen, self._current = stamp, fresh
        log.info("the certificate of the xDS port was replaced")
        return fresh

    def _files(self) -> list[Path]:
        tls = self._settings
        return [tls.certificate, tls.key, *([tls.client_ca] if tls.client_ca else [])]

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        """Changes when a file does, or a link on the way to it."""
        stats = [path.stat() for path in self._files()]
        return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)

    def _load(self) -> grpc.ServerCertificateConfiguration:
        tls = self._settings
        trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trial.load_cert_chain(tls.certificate, tls.key)
        authority = None
        if tls.client_ca is not None:
            trial.load_verify_locations(tls.client_ca)
            authority = tls.client_ca.read_bytes()
        pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=authority)
