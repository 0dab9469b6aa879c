"""A TrafficPolicy's part about backends -> clusters."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from dragoman.ir import model as ir
from dragoman.refs import FieldPath
from dragoman.translators.gateway.models import trafficpolicy
from dragoman.translators.gateway.policies import merge

FIELDS: Final[tuple[FieldPath, ...]] = (("timeouts", "connect"), ("circuitBreaker",))
"""The fields that concern backends: policies of routes that say any of them get clusters of their own."""

Merged = merge.Merged[trafficpolicy.TrafficPolicy]


def apply(cluster: ir.Cluster, merged: Merged) -> ir.Cluster:
    """The cluster as the policies want it."""
    said = tuple(one for one in merged.said if any(_below(one.origin.path[1:], field) for field in FIELDS))
    if not said:
        return cluster
    times = merged.spec.timeouts
    if times is not None and not times.disabled and times.connect is not None:
        cluster = replace(cluster, connect_timeout=times.connect)
    return replace(cluster, said=said)


def _below(path: FieldPath, field: FieldPath) -> bool:
    return path[: len(field)] == field
