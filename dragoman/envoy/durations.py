"""Seconds, as the IR has them, into protobuf durations. Used by every encoder of this package."""

from __future__ import annotations

from dragoman.proto.google.protobuf import Duration

_NANOS = 1_000_000_000


def assign(target: Duration, seconds: float) -> None:
    """Sets `target`, a field of some message, to `seconds`; 0 is written too (Envoy often means "none")."""
    if not seconds:
        target.SetInParent()
        return
    target.seconds, target.nanos = divmod(round(seconds * _NANOS), _NANOS)
