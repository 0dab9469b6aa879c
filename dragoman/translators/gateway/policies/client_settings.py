"""A merged ClientPolicy as the IR's settings, whatever the listener. `clients` applies them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from dragoman.diagnostics import Diagnostic, warning
from dragoman.ir import client, model as ir
from dragoman.translators.gateway import rules_clients
from dragoman.translators.gateway.models import client_addresses, clientpolicy
from dragoman.translators.gateway.policies import merge

Merged = merge.Merged[clientpolicy.ClientPolicy]


def _same(value: Any) -> Any:
    return value


def _pairs(several: Any) -> Any:
    return tuple((one.name, one.value) for one in several)


_Fields = tuple[tuple[str, str, Callable[[Any], Any]], ...]

_FORWARDED: Final[_Fields] = (
    ("mode", "forwarding", client.Forwarding),
    ("details", "details", lambda several: tuple(map(client.CertificateDetail, several))),
)
_HEADERS: Final[_Fields] = (
    ("max_bytes", "header_bytes", _same),
    ("max_count", "header_count", _same),
    ("underscores", "underscores", client.Underscores),
)
_EARLY: Final[_Fields] = (("set", "set", _pairs), ("add", "add", _pairs), ("remove", "remove", _same))
_PATHS: Final[_Fields] = (
    ("normalize", "normalize", _same),
    ("merge_slashes", "merge_slashes", _same),
    ("escaped_slashes", "escaped_slashes", client.EscapedSlashes),
)
_TIMEOUTS: Final[_Fields] = tuple(
    (name, name, _same) for name in ("request_headers", "request", "stream_idle", "idle")
)
_CONNECTIONS: Final[_Fields] = (
    ("max_requests", "max_requests", _same),
    ("max_duration", "max_duration", _same),
)
_HTTP1: Final[_Fields] = tuple(
    (name, name, _same) for name in ("http10", "default_host", "trailers", "preserve_case")
)
_HTTP2: Final[_Fields] = (
    ("max_concurrent_streams", "streams", _same),
    ("stream_window_bytes", "stream_window", _same),
    ("connection_window_bytes", "connection_window", _same),
    ("max_control_frames", "control_frames", _same),
    ("max_empty_frames", "empty_frames", _same),
)


@functools.lru_cache(maxsize=4096)
def settings(merged: Merged) -> tuple[ir.ClientSettings, tuple[Diagnostic, ...]]:
    """What the policies say, but for TLS; and what they get wrong together."""
    spec = merged.spec
    findings: list[Diagnostic] = []
    http = ir.DEFAULT_CLIENTS.http
    for section, fields in (
        (spec.forwarded_certificate, _FORWARDED),
        (spec.headers, _HEADERS),
        (spec.paths, _PATHS),
        (spec.timeouts, _TIMEOUTS),
        (spec.connections, _CONNECTIONS),
    ):
        http = _with(http, section, fields)
    http = replace(
        http,
        address=_address(spec.client_address),
        early=_with(http.early, spec.early_headers, _EARLY),
        http1=_with(http.http1, spec.http1, _HTTP1),
        http2=replace(_with(http.http2, spec.http2, _HTTP2), resets=_resets(merged, findings)),
    )
    limits = None if spec.connections is None or spec.connections.disabled else spec.connections
    made = ir.ClientSettings(
        ir.PortSettings(_proxy_protocol(spec.proxy_protocol), limits.buffer_bytes if limits else None),
        http,
        limits.max if limits else None,
        _http3(spec),
    )
    return made, tuple(findings)


def _with(value: Any, section: Any, fields: _Fields) -> Any:
    """`value` with what a section says."""
    if section is None or section.disabled:
        return value
    said = (
        (ours, read(given)) for name, ours, read in fields if (given := getattr(section, name)) is not None
    )
    return replace(value, **dict(said))


def _address(wanted: client_addresses.ClientAddress | None) -> client.ClientAddress | None:
    if wanted is None or wanted.disabled:
        return None
    if wanted.trusted_hops is not None:
        return client.TrustedHops(wanted.trusted_hops)
    if wanted.trusted_networks is not None:
        networks = (rules_clients.network(one) for one in wanted.trusted_networks)
        return client.TrustedNetworks(tuple(one for one in networks if one is not None))
    return client.AddressHeader((wanted.header or "").lower(), bool(wanted.required))


def _proxy_protocol(wanted: client_addresses.ProxyProtocol | None) -> client.ProxyProtocol | None:
    if wanted is None or wanted.disabled or not wanted.enabled:
        return None
    versions = wanted.versions or tuple(one.value for one in client.ProxyVersion)
    return client.ProxyProtocol(tuple(map(client.ProxyVersion, sorted(set(versions)))), bool(wanted.optional))


def _resets(merged: Merged, findings: list[Diagnostic]) -> tuple[int, int] | None:
    wanted = merged.spec.http2
    if wanted is None or wanted.disabled:
        return None
    burst, rate = wanted.reset_burst, wanted.resets_per_second
    if burst is not None and rate is not None:
        return burst, rate
    if burst is not None or rate is not None:
        given, other = (
            ("resetBurst", "resetsPerSecond") if rate is None else ("resetsPerSecond", "resetBurst")
        )
        origin = merged.origin("http2", given)
        if origin is not None:
            message = f"`{given}` has no effect without `{other}`"
            findings.append(warning("DRG3001", message, origin))
    return None


def _http3(spec: clientpolicy.ClientPolicy) -> ir.Http3 | None:
    wanted = spec.http3
    if wanted is None or wanted.disabled or not wanted.enabled:
        return None
    age = ir.Http3().max_age if wanted.max_age is None else int(wanted.max_age)
    return ir.Http3(wanted.advertised_port or 0, age)
