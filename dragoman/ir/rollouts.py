"""The IR of rollouts: what one is to do (`Plan`), and how far it has come (`Progress`).

A translator makes a plan out of a Rollout and its route, and gives the route the weight that the progress
says. The progress comes from outside, like a document: the controller (`dragoman.rollout`) puts it into the
graph. Times are Unix seconds, so that they mean the same after a restart.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass, field

from dragoman.ir.backends import ClusterKey
from dragoman.refs import Origin, Ref


@dataclass(frozen=True, slots=True)
class Step:
    """The canary gets `weight` percent for at least `pause` seconds, then, with `approval`, until somebody
    says so."""

    weight: int
    pause: float = 0.0
    approval: bool = False


class OnFailure(enum.Enum):
    ROLLBACK = "Rollback"
    HOLD = "Hold"


@dataclass(frozen=True, slots=True)
class Query:
    """A number that a Prometheus knows, and where it must lie."""

    address: str
    expression: str
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """What is looked at every `interval` seconds: Prometheus where there is a `query`, else what Envoy
    reports of the canary's requests, once there are `requests` of them.

    `success` is in percent; the `percentile` of latencies may be `latency` seconds at most. The
    `failure_limit`th bad verdict in a row counts.
    """

    name: str
    interval: float
    failure_limit: int = 1
    requests: int = 1
    success: float | None = None
    percentile: float = 99.0
    latency: float | None = None
    query: Query | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a Rollout is to do. `digest` changes with everything that makes another rollout of it.

    `idle`: the route itself sends everything to the canary. `waiting`: why it cannot begin, "" if it can.
    """

    ref: Ref
    digest: str
    canary: ClusterKey | None
    steps: tuple[Step, ...]
    checks: tuple[Check, ...] = ()
    on_failure: OnFailure = OnFailure.ROLLBACK
    idle: bool = False
    waiting: str = ""
    origin: Origin | None = field(default=None, compare=False)


class Phase(enum.Enum):
    """Where a rollout is. All but the first end it, or wait for somebody."""

    PROGRESSING = "Progressing"
    HELD = "Held"
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The last word of a check. `good` None: there was nothing to judge by. `failures`: bad ones in a row;
    `passed`: whether it was good since the step began."""

    due: float
    good: bool | None = None
    value: str = ""
    time: float = 0.0
    failures: int = 0
    passed: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rollout is. `digest` is that of the plan it belongs to: with another it counts for nothing.

    `since` is when the step began, `changed` when anything was last decided. `reason` is a condition's,
    `message` a sentence. `checks` is the digest of those that the verdicts are of.
    """

    digest: str
    phase: Phase
    weight: int
    step: int
    since: float
    changed: float
    reason: str
    message: str
    approved: bool = False
    checks: str = ""
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a progress that routes look at: the canary's percent, and whether it is still being tried:
    testers get it, and its requests are reported."""

    digest: str
    weight: int
    active: bool


NOT_BEGUN = Share("", 0, active=True)


def share(progress: Progress) -> Share:
    """What the route makes of it. Nobody is sent to a canary that was taken back, and all are to one that is
    promoted."""
    return Share(progress.digest, progress.weight, progress.phase in (Phase.PROGRESSING, Phase.HELD))


def digest(*parts: object) -> str:
    """A short name of plain values, the same in every process."""
    return hashlib.blake2s(repr(parts).encode(), digest_size=8).hexdigest()
