"""The decisions of a rollout, as pure functions: where it is, what was measured and what time it is -> where
it is now.

`step` is called over and over by the controller, `approve` and `abort` for somebody who says so. One call
takes one step at most. Times are Unix seconds; a clock that goes back only makes it wait: what began in the
future begins now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from dragoman.ir.rollouts import Check, OnFailure, Phase, Plan, Progress, Verdict, digest

_NOTHING: Final[Mapping[int, Measurement]] = {}


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a check found. `good` None: nothing to judge by (yet). `value` is for people."""

    good: bool | None
    value: str


class Refused(ValueError):  # noqa: N818  (reads as what happened)
    """What somebody asks for makes no sense now; the message says why."""


def due(plan: Plan, progress: Progress | None, now: float) -> tuple[int, ...]:
    """The checks to look at now, by their position in the plan."""
    progress = _own(plan, progress)
    if plan.idle or progress is None or progress.phase is not Phase.PROGRESSING:
        return ()
    return tuple(at for at, verdict in enumerate(_verdicts(plan, progress, now)) if verdict.due <= now)


def step(
    plan: Plan, progress: Progress | None, now: float, measured: Mapping[int, Measurement] = _NOTHING
) -> Progress | None:
    """Where the rollout is after this moment. None: not begun."""
    if plan.idle:
        return progress
    progress = _own(plan, progress)
    if progress is None:
        return None if plan.waiting else _enter(plan, 0, now)
    if progress.phase is not Phase.PROGRESSING:
        return progress
    progress = replace(
        progress,
        since=min(progress.since, now),
        checks=_checks(plan),
        verdicts=tuple(_heard(plan, _verdicts(plan, progress, now), measured, now)),
    )
    failed = _failed(plan, progress)
    if failed:
        return _fail(plan, progress, failed, now)
    reason, message = _obstacle(plan, progress, now)
    if reason:
        return replace(progress, reason=reason, message=message)
    if progress.step + 1 < len(plan.steps):
        return _enter(plan, progress.step + 1, now)
    return replace(
        progress,
        phase=Phase.PROMOTED,
        weight=100,
        changed=now,
        reason="Promoted",
        message="the canary has everything; give it weight in the route itself, then this can go",
    )


def approve(plan: Plan, progress: Progress | None, now: float) -> Progress:
    """Somebody lets the step go on, or overrules a hold. Raises `Refused`."""
    progress = _current(plan, progress)
    current = plan.steps[progress.step]
    if progress.phase is Phase.HELD:
        return replace(
            progress,
            phase=Phase.PROGRESSING,
            approved=True,
            changed=now,
            reason="Approved",
            message=f"{_where(plan, progress.step)}; taken up again by hand",
            verdicts=_fresh(plan, now),
        )
    if progress.phase is not Phase.PROGRESSING:
        raise Refused(f"there is nothing to approve: it is {progress.phase.value}")
    if not current.approval:
        raise Refused(f"step {progress.step + 1} needs no approval")
    if progress.approved:
        raise Refused(f"step {progress.step + 1} is approved already")
    return replace(
        progress,
        approved=True,
        changed=now,
        reason="Approved",
        message=f"{_where(plan, progress.step)}; approved",
    )


def abort(plan: Plan, progress: Progress | None, now: float) -> Progress:
    """Somebody takes the canary back. Raises `Refused`."""
    progress = _current(plan, progress)
    if progress.phase is Phase.ROLLED_BACK:
        raise Refused("it is rolled back already")
    return _back(progress, "Aborted", "the canary was taken back by hand", now)


def _current(plan: Plan, progress: Progress | None) -> Progress:
    if plan.idle:
        raise Refused("the route itself gives everything to the canary")
    progress = _own(plan, progress)
    if progress is None:
        raise Refused("it has not begun")
    return progress


def _own(plan: Plan, progress: Progress | None) -> Progress | None:
    """`progress`, if it is of this plan: a file may say anything."""
    if progress is None or progress.digest != plan.digest or not 0 <= progress.step < len(plan.steps):
        return None
    return progress


def _enter(plan: Plan, number: int, now: float) -> Progress:
    entered = Progress(
        plan.digest,
        Phase.PROGRESSING,
        plan.steps[number].weight,
        number,
        now,
        now,
        "",
        "",
        checks=_checks(plan),
        verdicts=_fresh(plan, now),
    )
    reason, message = _obstacle(plan, entered, now)
    return replace(entered, reason=reason or "Stepping", message=message or _where(plan, number))


def _obstacle(plan: Plan, progress: Progress, now: float) -> tuple[str, str]:
    """What keeps it in its step: a condition's reason and a sentence; "" where nothing does."""
    current = plan.steps[progress.step]
    where = _where(plan, progress.step)
    if now - progress.since < current.pause:
        return "Pausing", f"{where} for {current.pause:g}s"
    lacking = [
        check.name
        for check, verdict in zip(plan.checks, progress.verdicts, strict=True)
        if not verdict.passed
    ]
    if lacking:
        return "AwaitingChecks", f"{where} until the checks are content: {', '.join(lacking)}"
    if current.approval and not progress.approved:
        return "AwaitingApproval", f"{where} until it is approved"
    return "", ""


def _where(plan: Plan, number: int) -> str:
    return f"step {number + 1} of {len(plan.steps)}: {plan.steps[number].weight}%"


def _failed(plan: Plan, progress: Progress) -> str:
    """The checks that have failed for good, in words."""
    found = [
        f"{check.name}: {verdict.value}"
        for check, verdict in zip(plan.checks, progress.verdicts, strict=True)
        if verdict.failures >= check.failure_limit
    ]
    return "; ".join(found)


def _fail(plan: Plan, progress: Progress, failed: str, now: float) -> Progress:
    where = _where(plan, progress.step)
    if plan.on_failure is OnFailure.ROLLBACK:
        return _back(progress, "CheckFailed", f"{where} failed: {failed}", now)
    return replace(
        progress,
        phase=Phase.HELD,
        changed=now,
        reason="CheckFailed",
        message=f"{where} is held until approved or aborted: {failed}",
    )


def _back(progress: Progress, reason: str, message: str, now: float) -> Progress:
    return replace(progress, phase=Phase.ROLLED_BACK, weight=0, changed=now, reason=reason, message=message)


# --- verdicts ---------------------------------------------------------------------------------------------


def _checks(plan: Plan) -> str:
    return digest(plan.checks)


def _verdicts(plan: Plan, progress: Progress, now: float) -> tuple[Verdict, ...]:
    """Those there are, or new ones where the checks are others than before. None is later than one that
    began now."""
    known = progress.verdicts
    if progress.checks != _checks(plan) or len(known) != len(plan.checks):
        known = _fresh(plan, progress.changed)
    latest = _fresh(plan, now)
    return tuple(replace(one, due=min(one.due, last.due)) for one, last in zip(known, latest, strict=True))


def _fresh(plan: Plan, now: float) -> tuple[Verdict, ...]:
    return tuple(Verdict(now + check.interval) for check in plan.checks)


def _heard(
    plan: Plan, before: tuple[Verdict, ...], measured: Mapping[int, Measurement], now: float
) -> Iterable[Verdict]:
    for at, (check, verdict) in enumerate(zip(plan.checks, before, strict=True)):
        found = measured.get(at)
        yield verdict if found is None else _judged(check, verdict, found, now)


def _judged(check: Check, verdict: Verdict, found: Measurement, now: float) -> Verdict:
    due_next = now + check.interval
    if found.good is None:
        # What was said before still stands, but for how long ago.
        return replace(verdict, due=due_next, good=None, value=found.value, time=now)
    failures = 0 if found.good else verdict.failures + 1
    return Verdict(due_next, found.good, found.value, now, failures, found.good)
