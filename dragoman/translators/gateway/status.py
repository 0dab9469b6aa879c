"""Status bodies, in Gateway API's shape: plain data, ready for YAML.

`observedGeneration` is the object's `metadata.generation`; `lastTransitionTime` is left to whoever
writes a status.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from dragoman.refs import Ref
from dragoman.translators import base
from dragoman.translators.gateway import (
    attachment,
    features,
    gateways,
    listeners,
    listenersets,
    routes_http,
    streams,
)
from dragoman.translators.gateway.models import meta

_INVALID: Final = "UnsupportedValue"


def of_class(item: base.AnyObject, accepted: base.Condition) -> base.Status:
    """GatewayClassStatus."""
    found = [{"name": name} for name in features.SUPPORTED]
    body = {"conditions": _conditions((accepted,), item.meta.generation), "supportedFeatures": found}
    return base.Status(item.ref, body)


Attached = Callable[[str], int]
"""Listener's name -> accepted routes."""


def of_gateway(item: base.AnyObject, report: gateways.Report, attached: Attached, sets: int) -> base.Status:
    """GatewayStatus. `sets`: attached ListenerSets. None is worth a word where the Gateway speaks of them."""
    body: dict[str, Any] = {
        "addresses": [{"type": "IPAddress", "value": value} for value in report.addresses],
        "conditions": _conditions(report.conditions, item.meta.generation),
        "listeners": _listeners(item, report.listeners, attached),
    }
    if sets or item.spec.allowed_listeners is not None:
        body["attachedListenerSets"] = sets
    return base.Status(item.ref, body)


def of_set(item: base.AnyObject, report: listenersets.Report, attached: Attached) -> base.Status:
    """ListenerSetStatus."""
    body: dict[str, Any] = {"conditions": _conditions(report.conditions, item.meta.generation)}
    if report.reports:
        body["listeners"] = _listeners(item, report.reports, attached)
    return base.Status(item.ref, body)


def _listeners(
    item: base.AnyObject, reports: Iterable[listeners.Report], attached: Attached
) -> list[dict[str, Any]]:
    return [
        {
            "name": one.name,
            "supportedKinds": [{"group": meta.GATEWAY_GROUP, "kind": kind} for kind in one.kinds],
            "attachedRoutes": attached(one.name),
            "conditions": _conditions(one.conditions, item.meta.generation),
        }
        for one in reports
    ]


def of_route(
    item: base.AnyObject,
    controller: str,
    attached: attachment.Attached,
    conditions: Callable[[base.Condition], tuple[base.Condition, ...]],
) -> base.Status:
    """RouteStatus: one entry per parent of ours. `conditions`: from `Accepted` to all of them."""
    said = tuple((one.wanted, conditions(one.accepted)) for one in attached.parents)
    return base.Status(item.ref, _parents(controller, said, item.meta.generation))


@functools.lru_cache(maxsize=1024)
def _parents(
    controller: str,
    said: tuple[tuple[meta.ParentReference, tuple[base.Condition, ...]], ...],
    generation: int,
) -> Mapping[str, Any]:
    """Kept, because most routes have the same parents and the same to say about them."""
    return {
        "parents": [
            {
                "parentRef": _parent(wanted),
                "controllerName": controller,
                "conditions": _conditions(conditions, generation),
            }
            for wanted, conditions in said
        ]
    }


def of_policy(
    item: base.AnyObject, controller: str, ancestors: Iterable[Ref], conditions: Iterable[base.Condition]
) -> base.Status:
    """PolicyStatus (GEP-713): one entry per Gateway whose routes reach the target."""
    said = _conditions(conditions, item.meta.generation)
    found = [
        {
            "ancestorRef": {
                "group": ref.group,
                "kind": ref.kind,
                "namespace": ref.namespace,
                "name": ref.name,
            },
            "controllerName": controller,
            "conditions": said,
        }
        for ref in ancestors
    ]
    return base.Status(item.ref, {"ancestors": found})


def stream_conditions(accepted: base.Condition, target: streams.Target) -> tuple[base.Condition, ...]:
    """A parent's conditions of a route of connections."""
    return (accepted, target.resolved)


def route_conditions(accepted: base.Condition, rules: routes_http.Rules) -> tuple[base.Condition, ...]:
    """A parent's conditions: attachment, rules and references together."""
    if not accepted.status or rules.invalid is None:
        return (accepted, rules.resolved)
    if not rules.usable:
        message = rules.invalid.removeprefix("Dropped Rule: ")
        return (base.Condition("Accepted", False, _INVALID, f"no rule is valid: {message}"), rules.resolved)
    return (accepted, rules.resolved, base.Condition("PartiallyInvalid", True, _INVALID, rules.invalid))


def of_backend(item: base.AnyObject, flaw: str | None) -> base.Status:
    """BackendStatus: whether it can be used."""
    accepted = base.Condition("Accepted", True, "Accepted", "the Backend is valid")
    if flaw is not None:
        accepted = base.Condition("Accepted", False, "InvalidCertificateRef", flaw)
    return base.Status(item.ref, {"conditions": _conditions((accepted,), item.meta.generation)})


def of_consumer(item: base.AnyObject, conditions: Iterable[base.Condition]) -> base.Status:
    """ConsumerStatus: conditions."""
    return base.Status(item.ref, {"conditions": _conditions(conditions, item.meta.generation)})


def of_rollout(
    item: base.AnyObject, conditions: Iterable[base.Condition], more: Mapping[str, Any]
) -> base.Status:
    """RolloutStatus: conditions, and how far it is."""
    return base.Status(item.ref, {"conditions": _conditions(conditions, item.meta.generation), **more})


def _parent(wanted: meta.ParentReference) -> dict[str, Any]:
    """The parentRef with the specification's defaults; `namespace` only where the route says it."""
    found: dict[str, Any] = {"group": wanted.group, "kind": wanted.kind, "name": wanted.name}
    if wanted.namespace is not None:
        found["namespace"] = wanted.namespace
    if wanted.section_name is not None:
        found["sectionName"] = wanted.section_name
    if wanted.port is not None:
        found["port"] = wanted.port
    return found


def _conditions(conditions: Iterable[base.Condition], generation: int) -> list[dict[str, Any]]:
    return [
        {
            "type": one.type,
            "status": "True" if one.status else "False",
            "observedGeneration": generation,
            "reason": one.reason,
            "message": one.message,
        }
        for one in conditions
    ]
