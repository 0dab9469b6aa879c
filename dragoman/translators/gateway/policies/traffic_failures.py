"""A TrafficPolicy's `fallback` and `faults` -> routes."""

from __future__ import annotations

import json
from dataclasses import replace

from dragoman.diagnostics import Diagnostic, warning
from dragoman.graph.collection import Context
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators.gateway import backends
from dragoman.translators.gateway.models import traffic_failures, trafficpolicy
from dragoman.translators.gateway.policies import merge

Merged = merge.Merged[trafficpolicy.TrafficPolicy]


def refers(spec: trafficpolicy.TrafficPolicy) -> bool:
    """Whether it refers to a backend."""
    said = spec.fallback
    return said is not None and not said.disabled and said.backend_ref is not None


def reserve(
    ctx: Context, sources: backends.Sources, spec: trafficpolicy.TrafficPolicy, origin: Origin, *, grpc: bool
) -> ir.ClusterKey | backends.Unresolved | None:
    """The cluster that takes over; `origin` is where `backendRef` was said."""
    said = spec.fallback
    if said is None or said.backend_ref is None or not refers(spec):
        return None
    how = ir.Transport.GRPC if grpc else ir.Transport.APPLICATION
    return backends.resolve(ctx, sources, origin.ref, said.backend_ref, origin, how)


def unresolved(
    ctx: Context, sources: backends.Sources, ref: Ref, spec: trafficpolicy.TrafficPolicy
) -> backends.Unresolved | None:
    """What is wrong with the reference of one policy."""
    found = reserve(ctx, sources, spec, Origin(ref, ("spec", "fallback", "backendRef")), grpc=False)
    return found if isinstance(found, backends.Unresolved) else None


def apply(
    action: ir.Forward, merged: Merged, cluster: ir.ClusterKey | None, *, grpc: bool
) -> tuple[ir.Forward, list[Diagnostic]]:
    """The action with fallback and faults. `cluster`: what `reserve` found."""
    findings: list[Diagnostic] = []
    said = merged.spec.fallback
    if said is not None and not said.disabled:
        answer = _answer(said.response) if said.response is not None else None
        origin = merged.origin("fallback", "response")
        if answer is not None and grpc and origin is not None:
            message = "calls of a GRPCRoute get no fallback response: it would be no gRPC message"
            findings.append(warning("DRG3001", message, origin))
            answer = None
        if cluster is not None or answer is not None:
            codes = tuple(sorted(set(said.status_codes or ())))
            action = replace(action, fallback=ir.Fallback(cluster, answer, codes))
    faults = merged.spec.faults
    if faults is not None and not faults.disabled and (faults.delay or faults.abort):
        action = replace(action, faults=_faults(faults))
    return action, findings


def _answer(given: traffic_failures.FallbackResponse) -> ir.Answer:
    headers = tuple((one.name.lower(), one.value) for one in given.headers)
    text = json.dumps(given.json) if given.json is not None else ""
    return ir.Answer(given.status, headers, text, given.text or "")


def _faults(given: traffic_failures.Faults) -> ir.Faults:
    delay = given.delay
    abort = given.abort
    return ir.Faults(
        ir.Delay(delay.fixed, _share(delay.percent)) if delay is not None else None,
        ir.Abort(_share(abort.percent), abort.http_status, abort.grpc_status) if abort is not None else None,
        tuple((one.name.lower(), one.value or "") for one in given.headers or ()),
    )


def _share(percent: float) -> int:
    """Millionths of the requests; never none where somebody wants a few."""
    return max(round(percent * ir.SHARES / 100), 1) if percent else 0
