"""Parameters of Gateways: a ConfigMap that a GatewayClass (`parametersRef`) or a Gateway
(`infrastructure.parametersRef`) refers to.

One key so far: `addresses`, where a Gateway is bound that asks for no address itself. A Gateway's own
parameters go before those of its class, and those before the settings.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Final

from dragoman.diagnostics import Diagnostic, error
from dragoman.graph.collection import Collection, Context
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import names, rules_gateway
from dragoman.translators.gateway.models import meta

KEYS: Final = ("addresses",)


@dataclass(frozen=True, slots=True)
class Parameters:
    """`addresses`: IP addresses; none: not said."""

    addresses: tuple[str, ...] = ()


NONE: Final = Parameters()


@dataclass(frozen=True, slots=True)
class Sources:
    """Where parameters are looked up."""

    configmaps: Collection[Ref, base.AnyObject]
    names: names.Names


def read(ctx: Context, sources: Sources, target: Ref, origin: Origin) -> Parameters | Diagnostic:
    """The parameters that the reference at `origin` means, or why there are none."""
    if (target.group, target.kind) != (meta.CORE_GROUP, "ConfigMap"):
        kind = f"{target.kind} of {target.group}" if target.group else target.kind
        message = f"parameters come from ConfigMaps, not from kind {kind}"
        return error("DRG1205", message, origin.at("kind"), label="expected ConfigMap")
    if not target.namespace:
        message = "parameters of a class come from a ConfigMap in a namespace"
        return error("DRG1205", message, origin, label="`namespace` is missing")
    item = ctx.fetch(sources.configmaps, target)
    if item is None:
        hint = names.hint(ctx, sources.names, target)
        return error("DRG1205", f"{target} is not there", origin.at("name"), help=hint)
    for key in item.spec.data:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, 1)
            hint = f"did you mean `{near[0]}`?" if near else f"there is {', '.join(KEYS)}"
            message = f"{target} has `{key}`, which is no parameter"
            return error("DRG1205", message, origin.at("name"), help=hint)
    addresses = tuple(item.spec.data.get("addresses", "").replace(",", " ").split())
    for one in addresses:
        if not rules_gateway.is_ip(one):
            message = f"`addresses` of {target} has `{one}`, which is no IP address"
            return error("DRG1205", message, origin.at("name"))
    return Parameters(tuple(dict.fromkeys(addresses)))
