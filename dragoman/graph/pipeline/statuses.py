"""What befalls a status outside translation: a document that does not decode, a proxy that refuses, a port
that is shared.

`Pipeline` folds them into what the translators say. Pure functions over statuses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dragoman.diagnostics import Diagnostic
from dragoman.refs import Ref
from dragoman.translators import base
from dragoman.xds.types import Rejection

_HOLDERS = ("parents", "ancestors")
"""Where a status has conditions of its own for everybody above the object."""


def invalid(
    ref: Ref, status: base.Status | None, findings: Sequence[Diagnostic], *, closed: bool = False
) -> base.Status:
    """The status of an object whose last document does not decode: not accepted, whatever its last good
    form, which stays in force, came to."""
    message = "; ".join(one.message for one in findings)
    kept = "; the last good form stays in force" if status is not None else ""
    kept = "; what it is to protect stays protected" if closed else kept
    condition = {"type": "Accepted", "status": "False", "reason": "Invalid", "message": f"{message}{kept}"}
    return _folded(status or base.Status(ref, {}), condition)


def unprogrammed(status: base.Status, rejection: Rejection) -> base.Status:
    """The status with `Programmed` False and Envoy's words, wherever the status holds conditions."""
    condition = {
        "type": "Programmed",
        "status": "False",
        # GatewayConditionReason: the address is the Gateway's own wish.
        "reason": "AddressNotUsable" if "cannot bind" in rejection.detail else "Invalid",
        "message": f"Envoy {rejection.node} refused it: {rejection.detail}",
    }
    return _folded(status, condition)


def overridden(status: base.Status, fields: Sequence[str]) -> base.Status:
    """The status of a policy of which some fields do not hold somewhere: older listeners of a port decide."""
    message = f"older listeners of the same port decide: {', '.join(fields)}"
    condition = {"type": "Overridden", "status": "True", "reason": "SharedPort", "message": message}
    return _folded(status, condition)


def _folded(status: base.Status, condition: Mapping[str, Any]) -> base.Status:
    body: dict[str, Any] = dict(status.body)
    holders = [name for name in _HOLDERS if isinstance(body.get(name), list)]
    for name in holders:
        body[name] = [_with(holder, condition) for holder in body[name]]
    return base.Status(status.ref, body if holders else _with(body, condition))


def _with(holder: Mapping[str, Any], condition: Mapping[str, Any]) -> dict[str, Any]:
    before = [c for c in holder.get("conditions", ()) if c.get("type") != condition["type"]]
    generation = next((c["observedGeneration"] for c in before if "observedGeneration" in c), None)
    extra = {} if generation is None else {"observedGeneration": generation}
    return {**holder, "conditions": [*before, {**condition, **extra}]}
