"""A TrafficPolicy's `timeouts` -> routes, and whether an inner time is shorter than the outer ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from dragoman.diagnostics import Diagnostic, warning
from dragoman.ir import model as ir
from dragoman.refs import FieldPath
from dragoman.translators.gateway.models import trafficpolicy
from dragoman.translators.gateway.policies import merge

Merged = merge.Merged[trafficpolicy.TrafficPolicy]

_TIERS: Final = (
    ("connect", "perTry"),
    ("connect", "request"),
    ("perTryIdle", "perTry"),
    ("perTryIdle", "request"),
    ("perTry", "request"),
    ("streamIdle", "maxStreamDuration"),
    ("request", "maxStreamDuration"),
)
"""Inner and outer: an inner time that is not shorter never counts."""


def inline(action: ir.Forward) -> Iterator[FieldPath]:
    """The fields that the route says itself."""
    if action.timeout is not None:
        yield ("timeouts", "request")
    if action.try_timeout is not None:
        yield ("timeouts", "perTry")


def apply(action: ir.Forward, merged: Merged) -> ir.Forward:
    """The action with the times that it does not say itself."""
    said = merged.spec.timeouts
    if said is None or said.disabled:
        return action
    return replace(
        action,
        timeout=said.request if action.timeout is None else action.timeout,
        try_timeout=said.per_try if action.try_timeout is None else action.try_timeout,
        try_idle=said.per_try_idle,
        stream_idle=said.stream_idle,
        duration=said.max_stream_duration,
    )


def check(action: ir.Forward, merged: Merged) -> Iterator[Diagnostic]:
    """Times that never count because of others. `action` is the finished one; what only a route says is the
    route's own affair."""
    said = merged.spec.timeouts
    times = {
        "connect": said.connect if said is not None and not said.disabled else None,
        "request": action.timeout,
        "perTry": action.try_timeout,
        "perTryIdle": action.try_idle,
        "streamIdle": action.stream_idle,
        "maxStreamDuration": action.duration,
    }
    told: set[str] = set()
    for inner, outer in _TIERS:
        short, long = times[inner], times[outer]
        origin = merged.origin("timeouts", inner) or merged.origin("timeouts", outer)
        if not short or not long or short < long or origin is None or inner in told:
            continue
        told.add(inner)
        message = f"`{inner}` ({short:g}s) is not shorter than `{outer}` ({long:g}s)"
        yield warning("DRG1611", message, origin, label=f"`{outer}` always ends it first")
    retry = action.retry
    if retry is None or not retry.tries or not action.try_timeout or not action.timeout or "perTry" in told:
        return
    tries = retry.tries + 1
    if tries * action.try_timeout > action.timeout:
        origin = merged.origin("timeouts", "perTry") or merged.origin("retries", "attempts")
        if origin is not None:
            message = (
                f"{tries} tries of {action.try_timeout:g}s each take longer than"
                f" the whole request may ({action.timeout:g}s)"
            )
            yield warning("DRG1611", message, origin, label="the last tries may be cut short")
