"""Rules of Gateway that span several fields (the CRD's CEL validations).

Overlapping listeners are not refused here: they get the status condition `Conflicted`.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Final

from dragoman.diagnostics import Diagnostic, error
from dragoman.refs import Origin, Ref
from dragoman.translators.gateway.models import gateway as model, listenerset, meta

_NAME: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_KEY: Final = re.compile(
    rf"((?=[^/]{{1,252}}/){_NAME}(\.{_NAME})*/)?([A-Za-z0-9][-A-Za-z0-9_.]{{0,61}})?[A-Za-z0-9]"
)
_LABEL: Final = re.compile(r"(?=.{0,63}\Z)(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")


def check(ref: Ref, spec: model.Gateway) -> Iterator[Diagnostic]:
    """What the API server would refuse."""
    origin = Origin(ref, ("spec",))
    yield from _listeners(origin, spec.listeners)
    if spec.allowed_listeners is not None:
        yield from _namespaces(origin.at("allowedListeners", "namespaces"), spec.allowed_listeners.namespaces)
    yield from _addresses(origin, spec)
    if spec.infrastructure is not None:
        yield from _infrastructure(origin.at("infrastructure"), spec.infrastructure)
    if spec.tls is not None and spec.tls.frontend is not None:
        ports = [item.port for item in spec.tls.frontend.per_port]
        for at, port in enumerate(ports):
            if port in ports[:at]:
                where = origin.at("tls", "frontend", "perPort", at, "port")
                yield error("DRG1108", f"port {port} has two entries in perPort", where)


def check_set(ref: Ref, spec: listenerset.ListenerSet) -> Iterator[Diagnostic]:
    """The same for a ListenerSet."""
    return _listeners(Origin(ref, ("spec",)), spec.listeners)


def _listeners(origin: Origin, listeners: tuple[model.Listener, ...]) -> Iterator[Diagnostic]:
    names: dict[str, int] = {}
    for at, listener in enumerate(listeners):
        here = origin.at("listeners", at)
        if listener.name in names:
            first = names[listener.name]
            yield error(
                "DRG1108", f"listener name `{listener.name}` is taken by listeners[{first}]", here.at("name")
            )
        names.setdefault(listener.name, at)
        yield from _listener(here, listener)


def _listener(here: Origin, listener: model.Listener) -> Iterator[Diagnostic]:
    protocol, tls = listener.protocol, listener.tls
    if tls is not None and protocol in ("HTTP", "TCP", "UDP"):
        yield error(
            "DRG1108",
            f"a listener of protocol {protocol} has no `tls`",
            here.at("tls"),
            help="protocol HTTPS takes `tls`",
        )
    if tls is not None and protocol == "HTTPS" and tls.mode == "Passthrough":
        yield error(
            "DRG1108",
            "an HTTPS listener terminates TLS: mode Passthrough contradicts it",
            here.at("tls", "mode"),
            help="leave `mode` out, or set Terminate",
        )
    terminates = tls is not None and protocol != "TLS" and tls.mode != "Passthrough"
    if tls is not None and terminates and not tls.certificate_refs and not tls.options:
        yield error(
            "DRG1102", "`certificateRefs` is missing", here.at("tls"), label="TLS needs a certificate"
        )
    if listener.hostname and protocol in ("TCP", "UDP"):
        yield error("DRG1108", f"a listener of protocol {protocol} has no `hostname`", here.at("hostname"))
    if protocol == "TLS" and (tls is None or tls.mode is None):
        where = here if tls is None else here.at("tls")
        missing = "tls" if tls is None else "mode"
        yield error("DRG1102", f"`{missing}` is missing", where, label="protocol TLS needs `tls.mode`")
    yield from _namespaces(here.at("allowedRoutes", "namespaces"), listener.allowed_routes.namespaces)


def _namespaces(
    where: Origin, namespaces: model.RouteNamespaces | model.ListenerNamespaces
) -> Iterator[Diagnostic]:
    if namespaces.selector is not None:
        yield from _selector(where, namespaces.selector)
    elif namespaces.from_ == "Selector":
        yield error("DRG1102", "`selector` is missing", where, label="from: Selector needs `selector`")


def _selector(here: Origin, wanted: meta.LabelSelector) -> Iterator[Diagnostic]:
    """A selector's lines must make sense: values for In and NotIn, none for the others."""
    for at, line in enumerate(wanted.match_expressions):
        needs = line.operator in ("In", "NotIn")
        if needs != bool(line.values):
            message = f"operator {line.operator} takes {'at least one value' if needs else 'no values'}"
            yield error("DRG1108", message, here.at("selector", "matchExpressions", at, "values"))


def _addresses(origin: Origin, spec: model.Gateway) -> Iterator[Diagnostic]:
    seen: set[tuple[str, str]] = set()
    for at, address in enumerate(spec.addresses):
        key = (address.type, address.value)
        if address.value and key in seen:
            yield error(
                "DRG1108", f"address {address.value} is listed twice", origin.at("addresses", at, "value")
            )
        seen.add(key)


def _infrastructure(here: Origin, given: model.Infrastructure) -> Iterator[Diagnostic]:
    """Kubernetes takes no other labels and annotations for what is made for the Gateway."""
    for field, pairs in (("labels", given.labels), ("annotations", given.annotations)):
        for key, value in pairs.items():
            if _KEY.fullmatch(key) is None:
                yield error("DRG1103", f"`{key}` can be no key of {field}", here.at(field, key))
            elif field == "labels" and _LABEL.fullmatch(value) is None:
                yield error("DRG1103", f"`{value}` can be no label's value", here.at(field, key))


def is_ip(text: str) -> bool:
    """Whether `text` is an IPv4 or IPv6 address."""
    return family(text) != ""


def family(text: str) -> str:
    """`IPv4`, `IPv6`, or "" for what is no IP address."""
    kind, name = (socket.AF_INET6, "IPv6") if ":" in text else (socket.AF_INET, "IPv4")
    try:
        socket.inet_pton(kind, text)  # a twentieth of what the module ipaddress takes, and these are many
    except (OSError, ValueError):
        return ""
    return name
