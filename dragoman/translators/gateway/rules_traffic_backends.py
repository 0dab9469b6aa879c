"""Rules of a TrafficPolicy's sections about backends that span fields, or that Envoy alone would tell: a
value that its constructors refuse must never be sent (a NACK would hold up every other change).

Called by `decode` by way of `rules_traffic`, for one policy by itself. What layers of policies come to
together is looked at where they are applied (`policies.traffic_*`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from dragoman.diagnostics import Diagnostic, error
from dragoman.refs import Origin, Ref
from dragoman.translators.gateway.models import (
    traffic_backends,
    traffic_balancing,
    traffic_health,
    traffic_tls,
    trafficpolicy as model,
)

_LONGER_THAN_NOTHING: Final = (
    ("timeouts", ("connect",)),
    ("outlier_detection", ("interval", "base_ejection_time", "max_ejection_time")),
    (
        "health_check",
        (
            "interval",
            "timeout",
            "unhealthy_interval",
            "unhealthy_edge_interval",
            "healthy_edge_interval",
            "no_traffic_interval",
        ),
    ),
    ("connection", ("max_duration",)),
)
_FOR_TYPES: Final = {
    "choices": ("LeastRequest",),
    "active_request_bias": ("LeastRequest",),
    "hash_on": ("RingHash", "Maglev"),
    "minimum_ring_size": ("RingHash",),
    "maximum_ring_size": ("RingHash",),
    "table_size": ("Maglev",),
    "balance_factor": ("RingHash", "Maglev"),
    "slow_start": ("RoundRobin", "LeastRequest"),
    "prefer_local_zone": ("RoundRobin", "LeastRequest", "Random"),
    "minimum_local_endpoints": ("RoundRobin", "LeastRequest", "Random"),
}
_HASHING: Final = ("RingHash", "Maglev")
_KEEPALIVE: Final = 32767
"""Seconds. Linux takes no more, and Envoy makes no connection whose options the system does not take."""


def check(ref: Ref, spec: model.TrafficPolicy) -> Iterator[Diagnostic]:
    """What is wrong with the sections about backends."""
    where = Origin(ref, ("spec",))
    for section, fields in _LONGER_THAN_NOTHING:
        yield from _positive(where, section, getattr(spec, section), fields)
    if spec.load_balancing is not None:
        yield from _balancing(where.at("loadBalancing"), spec.load_balancing)
    if spec.health_check is not None:
        yield from _health(where.at("healthCheck"), spec.health_check)
    if spec.connection is not None:
        yield from _connection(where.at("connection"), spec.connection)
    if spec.outlier_detection is not None:
        yield from _outliers(where.at("outlierDetection"), spec.outlier_detection)
    if spec.tls is not None:
        yield from _tls(where.at("tls"), spec.tls)


def _positive(where: Origin, section: str, given: Any, fields: tuple[str, ...]) -> Iterator[Diagnostic]:
    for field in fields if given is not None else ():
        if getattr(given, field) == 0.0:
            yield _zero(where.at(_camel(section), _camel(field)), _camel(field))


def _zero(where: Origin, field: str) -> Diagnostic:
    return error("DRG1104", f"`{field}` is out of range", where, label="expected more than 0s")


def _balancing(where: Origin, given: traffic_balancing.LoadBalancing) -> Iterator[Diagnostic]:
    if given.disabled:
        return
    kind = given.type or "LeastRequest"
    for field, types in _FOR_TYPES.items():
        if getattr(given, field) is not None and kind not in types:
            message = f"`{_camel(field)}` is for {' and '.join(types)}, and `type` is {kind}"
            yield error("DRG1108", message, where.at(_camel(field)))
    if kind in _HASHING and given.hash_on is None:
        message = "`hashOn` is missing"
        yield error("DRG1102", message, where, label=f"{kind} needs to know what to hash on")
    least, most = given.minimum_ring_size, given.maximum_ring_size
    if least is not None and most is not None and least > most:
        message = "`minimumRingSize` is greater than `maximumRingSize`"
        yield error("DRG1108", message, where.at("minimumRingSize"))
    if given.table_size is not None and not _prime(given.table_size):
        message = f"`tableSize` {given.table_size} is not a prime number"
        yield error(
            "DRG1103", message, where.at("tableSize"), label=f"{_next_prime(given.table_size)} is one"
        )
    if given.slow_start is not None and given.slow_start.window == 0.0:
        yield _zero(where.at("slowStart", "window"), "window")
    for at, source in enumerate(given.hash_on or ()):
        named = [
            name
            for name in ("header", "cookie", "query_parameter", "source_address")
            if getattr(source, name) not in (None, False)
        ]
        if len(named) != 1:
            message = "an entry names exactly one of `header`, `cookie`, `queryParameter` and `sourceAddress`"
            label = f"given: {', '.join(map(_camel, named)) or 'none'}"
            yield error("DRG1108", message, where.at("hashOn", at), label=label)


def _health(where: Origin, given: traffic_health.HealthCheck) -> Iterator[Diagnostic]:
    named = [name for name in ("http", "tcp", "grpc") if getattr(given, name) is not None]
    if len(named) != 1 and not given.disabled:
        message = "a health check has exactly one of `http`, `tcp` and `grpc`"
        yield error("DRG1108", message, where, label=f"given: {', '.join(named) or 'none'}")
    if given.http is not None:
        for at, one in enumerate(given.http.expected_statuses or ()):
            if one.start > one.end:
                message = f"no status is from {one.start} to {one.end}"
                yield error("DRG1104", message, where.at("http", "expectedStatuses", at))
        if given.http.method == "HEAD" and given.http.expected_body is not None:
            message = "an answer to HEAD has no body to look at"
            yield error("DRG1108", message, where.at("http", "expectedBody"))


def _connection(where: Origin, given: traffic_backends.Connection) -> Iterator[Diagnostic]:
    if given.tcp_keepalive is not None:
        for field in ("idle", "interval"):
            value = getattr(given.tcp_keepalive, field)
            if value is not None and (not 1 <= value <= _KEEPALIVE or value != int(value)):
                here = where.at("tcpKeepalive", field)
                label = f"expected whole seconds, 1s to {_KEEPALIVE}s"
                yield error("DRG1104", f"`{field}` is out of range", here, label=label)
    if given.http2 is not None:
        yield from _positive(where, "http2", given.http2, ("ping_interval", "ping_timeout"))


def _outliers(where: Origin, given: traffic_backends.OutlierDetection) -> Iterator[Diagnostic]:
    if not given.breaker:
        return
    for field in ("max_ejection_time", "max_ejection_percent", "jitter"):
        if getattr(given, field) is not None:
            message = (
                f"a breaker has no `{_camel(field)}`: it always leaves all alone, for `baseEjectionTime`"
            )
            yield error("DRG1108", message, where.at(_camel(field)))


def _tls(where: Origin, given: traffic_tls.Tls) -> Iterator[Diagnostic]:
    trusts = [
        name
        for name, value in (
            ("caCertificateRefs", given.ca_certificate_refs),
            ("wellKnownCACertificates", given.well_known_ca_certificates),
            ("insecureSkipVerify", given.insecure_skip_verify),
        )
        if value
    ]
    if len(trusts) > 1:
        yield error("DRG1108", f"{' and '.join(trusts)} exclude each other", where.at(trusts[-1]))
    if given.insecure_skip_verify and given.subject_alt_names:
        message = "insecureSkipVerify trusts anybody; names are also given"
        yield error("DRG1108", message, where.at("insecureSkipVerify"))
    for at, one in enumerate(given.ca_certificate_refs or ()):
        if one.group or one.kind not in ("ConfigMap", "Secret"):
            here = where.at("caCertificateRefs", at, "kind")
            label = "expected ConfigMap or Secret"
            yield error("DRG2005", f"{one.kind} holds no certificates", here, label=label)
    client = given.client_certificate_ref
    if client is not None and (client.group or client.kind != "Secret"):
        here = where.at("clientCertificateRef", "kind")
        yield error("DRG2005", f"{client.kind} holds no certificates", here, label="expected Secret")
    oldest, newest = given.minimum_version, given.maximum_version
    if oldest is not None and newest is not None and newest < oldest:
        message = "`maximumVersion` is older than `minimumVersion`"
        yield error("DRG1108", message, where.at("maximumVersion"))


def _prime(number: int) -> bool:
    return number > 1 and all(number % each for each in range(2, int(number**0.5) + 1))


def _next_prime(number: int) -> int:
    """The next one, or the greatest that Envoy takes."""
    while number < traffic_balancing.TABLE_LIMIT and not _prime(number):
        number += 1
    return number


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
