"""The decisions of a rollout: by time, by checks, by people; and what always holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from dragoman.ir.rollouts import Check, OnFailure, Phase, Plan, Progress, Step
from dragoman.refs import Ref
from dragoman.rollout import machine
from dragoman.rollout.machine import Measurement

REF = Ref("dragoman.dev", "Rollout", "shop", "cart")
GOOD, BAD, NONE = Measurement(True, "fine"), Measurement(False, "bad"), Measurement(None, "3 of 20 requests")
CHECK = Check("errors", interval=10.0, success=99.0)


def plan(*steps: Step, **more: Any) -> Plan:
    return Plan(REF, "d1", None, steps, **more)


def begun(of: Plan, now: float = 0.0) -> Progress:
    found = machine.step(of, None, now)
    assert found is not None
    return found


def stepped(
    of: Plan, at: Progress, now: float, measured: Mapping[int, Measurement] | None = None
) -> Progress:
    found = machine.step(of, at, now, measured or {})
    assert found is not None
    return found


def test_it_goes_from_step_to_step_by_time_and_ends_promoted() -> None:
    of = plan(Step(5, pause=60), Step(50, pause=30))
    one = begun(of, 100)
    assert (one.phase, one.weight, one.step, one.since, one.reason) == (
        Phase.PROGRESSING,
        5,
        0,
        100,
        "Pausing",
    )
    assert stepped(of, one, 159.9) == one
    two = stepped(of, one, 160)
    assert (two.weight, two.step, two.since) == (50, 1, 160)
    assert stepped(of, two, 189) == two
    done = stepped(of, two, 190)
    assert (done.phase, done.weight, done.reason) == (Phase.PROMOTED, 100, "Promoted")
    assert stepped(of, done, 1e9) == done


def test_a_clock_that_goes_back_makes_it_wait() -> None:
    of = plan(Step(5, pause=60), checks=(Check("c", 10),))
    at = begun(of, 1e9)
    assert machine.due(of, at, 0) == ()
    at = stepped(of, at, 0)
    assert at.phase is Phase.PROGRESSING
    assert machine.due(of, at, 10) == (0,)
    at = stepped(of, at, 10, {0: GOOD})
    assert stepped(of, at, 59).phase is Phase.PROGRESSING
    assert stepped(of, at, 60).phase is Phase.PROMOTED, "as long as its pause, and no longer"


def test_what_fits_no_plan_is_of_none() -> None:
    """Somebody wrote into the file."""
    of = plan(Step(5), Step(50, pause=60), checks=(Check("c", 10),))
    at = replace(begun(of), step=7, weight=100)
    assert machine.due(of, at, 100) == ()
    assert stepped(of, at, 100).weight == 5
    with pytest.raises(machine.Refused, match="not begun"):
        machine.abort(of, at, 100)
    fewer = replace(begun(of), verdicts=())
    assert len(stepped(of, fewer, 100).verdicts) == 1


def test_a_step_that_needs_approval_waits_for_it_and_for_its_pause() -> None:
    of = plan(Step(5, pause=60, approval=True), Step(50, approval=True))
    one = stepped(of, begun(of), 1000)
    assert (one.step, one.reason) == (0, "AwaitingApproval")
    early = machine.approve(of, begun(of), 10)
    assert stepped(of, early, 59).step == 0
    two = stepped(of, early, 60)
    assert (two.step, two.approved) == (1, False), "an approval is for one step"
    with pytest.raises(machine.Refused, match="approved already"):
        machine.approve(of, early, 11)


def test_what_needs_no_approval_cannot_be_approved() -> None:
    of = plan(Step(5, pause=60))
    with pytest.raises(machine.Refused, match="step 1 needs no approval"):
        machine.approve(of, begun(of), 1)
    with pytest.raises(machine.Refused, match="has not begun"):
        machine.approve(of, None, 1)
    with pytest.raises(machine.Refused, match="has not begun"):
        machine.abort(replace(of, digest="d2"), begun(of), 1)
    with pytest.raises(machine.Refused, match="the route itself"):
        machine.abort(replace(of, idle=True), begun(of), 1)


def test_checks_must_be_content_in_each_step() -> None:
    of = plan(Step(5, pause=20), Step(50, pause=20), checks=(CHECK,))
    one = begun(of)
    assert machine.due(of, one, 9.9) == ()
    assert machine.due(of, one, 10) == (0,)
    waiting = stepped(of, one, 20)
    assert (waiting.step, waiting.reason) == (0, "AwaitingChecks")
    two = stepped(of, waiting, 21, {0: GOOD})
    assert two.step == 1
    assert stepped(of, two, 100).step == 1, "the word on step 1 says nothing of step 2"
    assert stepped(of, two, 100, {0: GOOD}).phase is Phase.PROMOTED


def test_too_few_requests_hold_it() -> None:
    of = plan(Step(5, pause=20), checks=(CHECK,))
    at = begun(of)
    for now in range(10, 1000, 10):
        at = stepped(of, at, now, {0: NONE})
    assert (at.phase, at.step, at.reason) == (Phase.PROGRESSING, 0, "AwaitingChecks")
    assert at.verdicts[0].value == "3 of 20 requests"
    assert at.verdicts[0].due == 1000


def test_a_good_word_stands_until_a_bad_one() -> None:
    of = plan(Step(5, pause=100), checks=(replace(CHECK, failure_limit=3),))
    at = stepped(of, begun(of), 10, {0: GOOD})
    at = stepped(of, at, 20, {0: NONE})
    assert at.verdicts[0].passed
    at = stepped(of, at, 30, {0: BAD})
    assert not at.verdicts[0].passed
    assert stepped(of, at, 200).phase is Phase.PROGRESSING


def test_bad_words_in_a_row_roll_it_back_and_it_stays_so() -> None:
    of = plan(Step(5, pause=1000), checks=(replace(CHECK, failure_limit=2),))
    at = stepped(of, begun(of), 10, {0: BAD})
    at = stepped(of, at, 20, {0: GOOD})
    at = stepped(of, at, 30, {0: BAD})
    assert (at.phase, at.verdicts[0].failures) == (Phase.PROGRESSING, 1)
    at = stepped(of, at, 40, {0: NONE})
    at = stepped(of, at, 50, {0: BAD})
    assert (at.phase, at.weight, at.reason) == (Phase.ROLLED_BACK, 0, "CheckFailed")
    assert at.message == "step 1 of 1: 5% failed: errors: bad"
    assert stepped(of, at, 1e9, {0: GOOD}) == at
    assert machine.due(of, at, 1e9) == ()


def test_one_bad_check_of_several_is_enough() -> None:
    of = plan(Step(5), checks=(CHECK, replace(CHECK, name="latency")))
    assert stepped(of, begun(of), 10, {0: GOOD}).phase is Phase.PROGRESSING
    assert stepped(of, begun(of), 10, {0: GOOD, 1: BAD}).phase is Phase.ROLLED_BACK


def test_on_failure_hold_keeps_the_weight_until_somebody_decides() -> None:
    of = plan(Step(5), Step(20, pause=10), checks=(CHECK,), on_failure=OnFailure.HOLD)
    at = stepped(of, stepped(of, begun(of), 10, {0: GOOD}), 20, {0: BAD})
    assert (at.phase, at.weight, at.step) == (Phase.HELD, 20, 1)
    assert stepped(of, at, 1e9, {0: GOOD}) == at
    again = machine.approve(of, at, 100)
    assert (again.phase, again.weight, again.step) == (Phase.PROGRESSING, 20, 1)
    assert stepped(of, again, 101).phase is Phase.PROGRESSING, "the checks must be content again"
    assert stepped(of, again, 110, {0: GOOD}).phase is Phase.PROMOTED
    assert machine.abort(of, at, 100).phase is Phase.ROLLED_BACK


def test_abort_takes_it_back_even_when_it_is_promoted() -> None:
    of = plan(Step(5))
    done = stepped(of, begun(of), 1)
    assert done.phase is Phase.PROMOTED
    back = machine.abort(of, done, 2)
    assert (back.phase, back.weight, back.reason) == (Phase.ROLLED_BACK, 0, "Aborted")
    with pytest.raises(machine.Refused, match="rolled back already"):
        machine.abort(of, back, 3)


def test_another_digest_begins_anew_other_checks_only_ask_anew() -> None:
    of = plan(Step(5, pause=100), Step(50, pause=100), checks=(CHECK,))
    at = stepped(of, stepped(of, begun(of), 10, {0: GOOD}), 100)
    assert at.step == 1
    anew = stepped(replace(of, digest="d2"), at, 110)
    assert (anew.digest, anew.step, anew.since) == ("d2", 0, 110)
    stricter = replace(of, checks=(replace(CHECK, success=99.9),))
    at = stepped(of, at, 120, {0: GOOD})
    assert at.verdicts[0].passed
    asked = stepped(stricter, at, 130)
    assert (asked.step, asked.since, asked.verdicts[0].passed) == (1, 100, False)


def test_it_begins_when_the_backends_are_there_and_sleeps_while_idle() -> None:
    of = plan(Step(5), waiting="there is no Service cart-v2")
    assert machine.step(of, None, 1) is None
    ready = replace(of, waiting="")
    at = begun(ready)
    assert stepped(of, at, 2).phase is Phase.PROMOTED, "what has begun goes on"
    assert machine.step(replace(ready, idle=True), None, 1) is None
    assert machine.step(replace(ready, idle=True), at, 1e9) == at


STEPS = st.lists(
    st.builds(Step, st.integers(0, 100), st.sampled_from([0.0, 5.0, 30.0]), st.booleans()),
    min_size=1,
    max_size=4,
).map(tuple)
CHECKS = st.lists(
    st.builds(Check, st.just("c"), st.sampled_from([1.0, 7.0]), st.integers(1, 3)), max_size=2
).map(tuple)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("step"),
            st.floats(0, 20),
            st.lists(st.sampled_from([GOOD, BAD, NONE]), min_size=2, max_size=2),
        ),
        st.tuples(st.sampled_from(["approve", "abort"]), st.floats(0, 5), st.none()),
    ),
    max_size=40,
)


@given(STEPS, CHECKS, st.sampled_from(OnFailure), ACTIONS)
def test_what_always_holds(
    steps: tuple[Step, ...], checks: tuple[Check, ...], how: OnFailure, actions: Any
) -> None:
    """The weight is that of the step, or of the end; steps go forward one by one; an end is an end; a step
    was never left before its pause, nor without approval, nor without a good word of every check.
    """
    of = plan(*steps, checks=checks, on_failure=how)
    now = 0.0
    at = begun(of, now)
    for what, later, words in actions:
        now += later
        before = at
        measured: dict[int, Measurement] = {}
        if what == "step":
            measured = {number: words[number] for number in machine.due(of, at, now)}
            at = stepped(of, at, now, measured)
        else:
            try:
                at = getattr(machine, what)(of, at, now)
            except machine.Refused:
                continue
        expected = {Phase.PROMOTED: 100, Phase.ROLLED_BACK: 0}.get(at.phase, steps[at.step].weight)
        assert at.weight == expected
        assert at.step in (before.step, before.step + 1)
        if before.phase is Phase.ROLLED_BACK:
            assert at == before
        if before.phase is Phase.PROMOTED:
            assert at == before or what == "abort"
        if at.step > before.step or (at.phase, before.phase) == (Phase.PROMOTED, Phase.PROGRESSING):
            left = steps[before.step]
            assert now - before.since >= left.pause
            assert before.approved or not left.approval
            for number, verdict in enumerate(before.verdicts):
                heard = measured.get(number, NONE)
                assert heard.good or (heard.good is None and verdict.passed)
        assert len(at.verdicts) == len(checks)
        assert machine.due(of, at, now) == () or what != "step"


@given(STEPS, ACTIONS)
def test_a_restart_in_the_middle_changes_nothing(steps: tuple[Step, ...], actions: Any) -> None:
    """Verdicts are not kept over a restart; without checks, everything is."""
    of = plan(*steps)
    now = 0.0
    at = kept = begun(of, now)
    for what, later, _ in actions:
        now += later
        kept = replace(kept, verdicts=(), checks="")
        if what == "step":
            at, kept = stepped(of, at, now), stepped(of, kept, now)
        elif at.phase is Phase.PROGRESSING and what == "approve":
            try:
                at, kept = machine.approve(of, at, now), machine.approve(of, kept, now)
            except machine.Refused:
                continue
        assert (kept.phase, kept.step, kept.weight, kept.since) == (at.phase, at.step, at.weight, at.since)
