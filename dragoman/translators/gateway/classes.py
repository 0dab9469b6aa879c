"""GatewayClasses: whose Gateways are ours.

A Gateway is ours if its class is and names our controller. In files one may leave the class out: a
Gateway of class `dragoman` is ours too as long as no GatewayClass of that name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dragoman.diagnostics import Diagnostic, warning
from dragoman.graph.collection import Collection, Context
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import names, parameters
from dragoman.translators.gateway.models import gateway, gatewayclass, meta

IMPLIED: Final = "dragoman"


@dataclass(frozen=True, slots=True)
class Class:
    """A GatewayClass. `accepted` None: another controller's."""

    accepted: base.Condition | None
    findings: tuple[Diagnostic, ...] = ()
    parameters: parameters.Parameters = parameters.NONE


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a Gateway is ours, and why it cannot be accepted although it is."""

    ours: bool
    refusal: base.Condition | None = None
    findings: tuple[Diagnostic, ...] = ()
    parameters: parameters.Parameters = parameters.NONE


def judge(
    ctx: Context,
    sources: parameters.Sources,
    controller: str,
    item: base.Object[gatewayclass.GatewayClass],
) -> Class:
    """One GatewayClass, seen by the controller of that name."""
    spec = item.spec
    if spec.controller_name != controller:
        return Class(None)
    found: parameters.Parameters | Diagnostic = parameters.NONE
    wanted = spec.parameters_ref
    if wanted is not None:
        target = Ref(wanted.group, wanted.kind, wanted.namespace or "", wanted.name)
        found = parameters.read(ctx, sources, target, Origin(item.ref, ("spec", "parametersRef")))
    if isinstance(found, Diagnostic):
        return Class(base.Condition("Accepted", False, "InvalidParameters", found.message), (found,))
    accepted = base.Condition("Accepted", True, "Accepted", "Gateways of this class are served")
    return Class(accepted, (), found)


def standing(
    ctx: Context,
    classes: Collection[Ref, Class],
    known: names.Names,
    item: base.Object[gateway.Gateway],
) -> Standing:
    """Whether we serve this Gateway."""
    name = item.spec.gateway_class_name
    target = Ref(meta.GATEWAY_GROUP, "GatewayClass", "", name)
    found = ctx.fetch(classes, target)
    if found is None:
        if name == IMPLIED:
            return Standing(True)
        hint = names.hint(ctx, known, target) or f"class `{IMPLIED}` needs no GatewayClass"
        where = Origin(item.ref, ("spec", "gatewayClassName"))
        finding = warning(
            "DRG2008", f"{target} is not there, so nobody serves this Gateway", where, help=hint
        )
        return Standing(False, None, (finding,))
    if found.accepted is None:
        return Standing(False)
    if not found.accepted.status:
        message = f"its GatewayClass is not accepted: {found.accepted.message}"
        return Standing(True, base.Condition("Accepted", False, "InvalidParameters", message))
    return Standing(True, parameters=found.parameters)
