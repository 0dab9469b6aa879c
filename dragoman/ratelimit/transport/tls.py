"""Who is at the other end of a connection with TLS, for the rate-limit service's transports."""

from __future__ import annotations

from typing import Any


def names(certificate: dict[str, Any] | None) -> tuple[str, ...]:
    """The subject alternative names of a verified peer certificate, as `ssl` gives it."""
    return tuple(name for _kind, name in (certificate or {}).get("subjectAltName", ()))
