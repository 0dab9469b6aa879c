"""Actions, backends and endpoints of the IR in words. Matches are worded by `ir.describe`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from dragoman.ir import describe, model as ir


def action(action: ir.Action) -> str:
    """`90% Backend shop/a, 10% Backend shop/b`, `redirect 301 https://...`, `respond 404`."""
    match action:
        case ir.Forward():
            cases = (
                f"; {backends(each.backends)} if the token says {describe.claims(each.claims)}"
                for each in action.cases
            )
            return f"{backends(action.backends)}{''.join(cases)}"
        case ir.Redirect():
            host = action.hostname or "the same host"
            port = f":{action.port}" if action.port else ""
            way = f", {rewrite(action.path)}" if action.path else ""
            scheme = f"{action.scheme}://" if action.scheme else ""
            return f"redirect {action.status} to {scheme}{host}{port}{way}"
        case ir.Respond():
            return f"respond {action.status}"
        case _:
            assert_never(action)


def backends(given: Sequence[ir.WeightedBackend]) -> str:
    """Shares of the traffic, in percent."""
    total = sum(b.weight for b in given)
    if not total:
        return "respond 500 (no backend has a weight)"
    shares = [
        f"{100 * b.weight / total:.3g}% {cluster(b.cluster) if b.cluster else f'respond 500 ({b.reason})'}"
        for b in given
    ]
    return ", ".join(shares)


def cluster(key: ir.ClusterKey) -> str:
    """`Service shop/cart:8080`."""
    return f"{key.ref}:{key.port}" if key.port else str(key.ref)


def rewrite(rewrite: ir.PathRewrite) -> str:
    match rewrite:
        case ir.ReplaceFullPath(value):
            return f"path becomes {value}"
        case ir.ReplacePrefix(prefix, value):
            return f"{prefix} becomes {value or '/'}"
        case ir.ReplacePattern(pattern, value):
            return f"{pattern} becomes {value}"
        case _:
            assert_never(rewrite)


def mutation(change: ir.HeaderMutation) -> str:
    """`set x-a: 1; add x-b: 2; remove x-c`."""
    parts = [f"set {name}: {value}" for name, value in change.set]
    parts += [f"add {name}: {value}" for name, value in change.add]
    parts += [f"remove {name}" for name in change.remove]
    return "; ".join(parts)


def endpoint(endpoint: ir.Endpoint) -> str:
    """`10.0.0.1:8080 zone a, priority 1, draining`."""
    host = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    parts = [f"{host}:{endpoint.port}" if endpoint.port else endpoint.address]
    if endpoint.weight != 1:
        parts.append(f"weight {endpoint.weight}")
    if endpoint.zone:
        parts.append(f"zone {endpoint.zone}")
    if endpoint.priority:
        parts.append(f"priority {endpoint.priority}")
    if endpoint.health is not ir.Health.HEALTHY:
        parts.append(endpoint.health.value)
    return ", ".join(parts)
