"""Fields of merged policies that have no effect on a cluster: the finding, at the policy that says it."""

from __future__ import annotations

from collections.abc import Iterator

from dragoman.diagnostics import Diagnostic, warning
from dragoman.ir import model as ir
from dragoman.refs import FieldPath
from dragoman.translators.gateway.models import trafficpolicy
from dragoman.translators.gateway.policies import merge

Merged = merge.Merged[trafficpolicy.TrafficPolicy]


def spoken(cluster: ir.Cluster) -> str:
    """How a cluster is spoken to, in words."""
    match ir.Transport(cluster.key.transport):
        case ir.Transport.DATAGRAMS:
            return "by datagrams"
        case ir.Transport.PASSTHROUGH:
            return "by TLS that is passed through"
        case ir.Transport.BYTES:
            return "in plain bytes"
        case ir.Transport.GRPC:
            return "by gRPC"
        case ir.Transport.APPLICATION:
            return "by HTTP"


def of(cluster: ir.Cluster, merged: Merged, *fields: FieldPath, why: str = "") -> Iterator[Diagnostic]:
    """A finding for each of `fields` that somebody says."""
    port = f":{cluster.key.port}" if cluster.key.port else ""
    reason = why or f"which is spoken to {spoken(cluster)}"
    for field in fields:
        origin = merged.origin(*field)
        if origin is not None:
            message = f"`{'.'.join(map(str, field))}` has no effect on {cluster.key.ref}{port}, {reason}"
            yield warning("DRG3001", message, origin)
