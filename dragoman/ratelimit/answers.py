"""From decisions to the response: codes, what the client is told, and what the access log may say.

Every status says what its limit decided, shadow or not as the limit has it. What the client is told (headers,
body) comes from one limit: of those that deny, the one that keeps it waiting longest; else the one with the
least remaining. Limits in shadow mode and limits that nothing could count tell nothing. Called by `service`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from dragoman.proto import texts
from dragoman.proto.envoy.service.ratelimit import v3 as rls
from dragoman.ratelimit import plans, rules, wire
from dragoman.ratelimit.algorithms import Decision, base as algorithms
from dragoman.ratelimit.stores import guard
from dragoman.ratelimit.transport import base as transport

JSON: Final = wire.header("content-type", "application/json")


_ALLOWED: Final = bytes((8, wire.OK))
_UNLIMITED: Final = wire.status(wire.OK, b"", wire.UNLIMITED, 0)
_UNKNOWN: Final = wire.status(wire.OK, b"", 0, 0)
_FAILED: Final = transport.Status(transport.Code.UNAVAILABLE, "the store of the rate limits does not answer")


class Answer(NamedTuple):
    """The response's bytes (or how the call fails), whether it denies, and how late it is to be sent
    (microseconds)."""

    response: transport.Outcome
    denied: bool
    delay: int


class Judged(NamedTuple):
    """A part with its decision. `over`: the limit says no; `passes`: but the request passes it."""

    part: plans.Part
    decision: Decision
    over: bool
    passes: bool


def plain(plan: plans.Plan, decisions: Sequence[Decision | None]) -> Answer | None:
    """What `make` makes of a plain plan where everything is allowed, which is what most calls are. None where
    it is not.
    """
    for decision in decisions:
        if decision is None or not decision.allowed or decision is guard.OPENED:
            return None
    out, delay = _ALLOWED, 0
    for parts in plan.descriptors:
        if not parts:
            out += _UNLIMITED if parts is None else _UNKNOWN
            continue
        part = parts[0]
        decision = decisions[part.ask]
        assert decision is not None
        part.counts.count(part.hits, decision.used, part.capacity, True, False)
        seconds = -(-decision.reset // algorithms.SECOND)
        status = _ALLOWED + part.said + wire.rest(decision.remaining, seconds)
        out += (
            b"\x12%c%b" % (len(status), status)
            if len(status) < 128
            else wire.status(wire.OK, part.said, decision.remaining, seconds)
        )
        if decision.delay > delay:
            delay = decision.delay
    return Answer(out, False, delay)


def make(plan: plans.Plan, decisions: Sequence[Decision | None], *, detailed: bool, shadow: bool) -> Answer:
    """`detailed`: metadata says everything about the request (envoyproxy/ratelimit's
    RESPONSE_DYNAMIC_METADATA); `shadow`: nothing at all is denied.
    """
    judged: list[list[Judged] | None] = []
    quotas = [False, True]
    """Whether there are quota limits, and whether all of them are over."""
    for parts in plan.descriptors:
        if parts is None:
            judged.append(None)
            continue
        here = []
        for part in parts:
            decision = decisions[part.ask]
            assert decision is not None  # the guard sees to it
            over = not decision.allowed
            if part.limit.quota and not part.limit.shadow:
                quotas[0] = True
                quotas[1] = quotas[1] and over
            here.append(Judged(part, decision, over, False))
        judged.append(here)
    spared = quotas[0] and not quotas[1]
    statuses: list[bytes] = []
    everything: list[Judged] = []
    for descriptor in judged:
        if descriptor is None:
            statuses.append(_UNLIMITED)
            continue
        passed = [
            each._replace(passes=True)
            if each.over and (shadow or each.part.limit.shadow or (spared and each.part.limit.quota))
            else each
            for each in descriptor
        ]
        _count(passed)
        everything += passed
        statuses.append(_status(passed))
    against = [each for each in everything if each.over and not each.passes]
    denying = [each for each in against if each.decision is not guard.FAILED]
    if against and not denying:
        return Answer(_FAILED, True, 0)
    code = wire.OVER_LIMIT if denying else wire.OK
    told = _told(denying, everything)
    rest = _presentation(told, bool(denying)) if told is not None else b""
    rest += _metadata(plan, everything, denying, detailed)
    delay = (
        0
        if denying
        else max((each.decision.delay for each in everything if not each.part.limit.shadow), default=0)
    )
    return Answer(wire.response(code, statuses, rest), bool(denying), delay)


def _count(judged: Sequence[Judged]) -> None:
    for part, decision, over, passes in judged:
        if decision is guard.OPENED or decision is guard.CLOSED or decision is guard.FAILED:
            part.counts.unknown += max(part.hits, 0)
        else:
            part.counts.count(part.hits, decision.used, part.capacity, not over, passes)


def _strictest(judged: Sequence[Judged]) -> Judged:
    """Of several limits the one that says most: a denial before all else, then the longest wait, then the
    least remaining.
    """
    return max(
        judged,
        key=lambda each: (each.over and not each.passes, each.over, wait(each), -each.decision.remaining),
    )


def _status(judged: Sequence[Judged]) -> bytes:
    if not judged:
        return _UNKNOWN
    strictest = judged[0] if len(judged) == 1 else _strictest(judged)
    part, decision, over, _ = strictest
    # A quota that is over says so, although the request passes; shadow mode shows nothing.
    shown = over and (not strictest.passes or part.limit.quota) and not part.limit.shadow
    code = wire.OVER_LIMIT if shown else wire.OK
    return wire.status(code, part.said, decision.remaining, wait(strictest))


def wait(judged: Judged) -> int:
    """Seconds, rounded up, because whoever comes back too early is denied again: until a retry would pass,
    else until the limit is as good as new.
    """
    decision = judged.decision
    until = decision.retry if judged.over and decision.retry > 0 else decision.reset
    if until < 0:
        algorithm = judged.part.limit.algorithm
        until = algorithm.window if algorithm is not None else 0
    return algorithms.ceiling(until, algorithms.SECOND)


def _told(denying: Sequence[Judged], everything: Sequence[Judged]) -> Judged | None:
    if denying:
        return _strictest(denying) if len(denying) > 1 else denying[0]
    shown = [each for each in everything if not each.part.limit.shadow and each.decision is not guard.OPENED]
    return min(shown, key=lambda each: each.decision.remaining, default=None)


def _presentation(told: Judged, denied: bool) -> bytes:
    """Headers and body, as the limit wants them."""
    part, decision, _, _ = told
    wants = part.limit.presentation
    if wants is rules.SILENT or part.limit.algorithm is None:
        return b""
    seconds = wait(told)
    number, remaining = part.limit.algorithm.limit, decision.remaining
    out = b""
    if wants.x_ratelimit:
        out += wire.header("x-ratelimit-limit", str(number))
        out += wire.header("x-ratelimit-remaining", str(remaining))
        out += wire.header("x-ratelimit-reset", str(seconds))
    if wants.draft:
        window = algorithms.ceiling(part.limit.algorithm.window, algorithms.SECOND)
        out += wire.header("ratelimit-limit", str(number))
        out += wire.header("ratelimit-remaining", str(remaining))
        out += wire.header("ratelimit-reset", str(seconds))
        out += wire.header("ratelimit-policy", f"{number};w={window}")
    if not denied:
        return out
    retry = max(seconds, 1)
    if wants.retry_after:
        out += wire.header("retry-after", str(retry))
    if wants.body:
        data = {
            "error": "rate_limit_exceeded",
            "message": wants.message or "Too many requests. Try again later.",
            "retryAfter": retry,
            "limit": number,
        }
        out += JSON + wire.body(orjson.dumps(data))
    return out


def _metadata(
    plan: plans.Plan, everything: Sequence[Judged], denying: Sequence[Judged], detailed: bool
) -> bytes:
    """What access logs may name: `limit` and `policy` behind a denial, `shadow_limits` that would have been
    one, and with `detailed` the request and the violated quotas.
    """
    behind = _strictest(denying).part.limit if denying else None
    shadowed = [
        each.part.limit for each in everything if each.over and each.passes and not each.part.limit.quota
    ]
    if not (detailed or shadowed):
        return _behind(behind.name or behind.metric, behind.policy) if behind is not None else b""
    said: dict[str, Any] = _detail(plan, everything) if detailed else {}
    if behind is not None:
        said |= _names(behind.name or behind.metric, behind.policy)
    if shadowed:
        said["shadow_limits"] = [limit.name or limit.metric for limit in shadowed]
    return wire.metadata(said)


@functools.lru_cache(1 << 12)
def _behind(name: str, policy: str) -> bytes:
    """The metadata of a denial: the same for a limit every time, and dear to make."""
    return wire.metadata(_names(name, policy))


def _names(name: str, policy: str) -> dict[str, str]:
    return {"limit": name, "policy": policy} if policy else {"limit": name}


def _detail(plan: plans.Plan, everything: Sequence[Judged]) -> dict[str, Any]:
    """The request as envoyproxy/ratelimit reports it."""
    message = texts.parse(rls.RateLimitRequest, plan.request)
    descriptors = []
    for descriptor in message.descriptors:
        said: dict[str, Any] = {
            "entries": [
                f"{entry.key}={entry.value}" if entry.value else entry.key for entry in descriptor.entries
            ]
        }
        if descriptor.HasField("hits_addend"):
            said["hitsAddend"] = descriptor.hits_addend.value
        descriptors.append(said)
    quota = {each.part.ask for each in everything if each.part.limit.quota}
    out: dict[str, Any] = {
        "domain": message.domain,
        "descriptors": descriptors,
        "quotaModeEnabled": bool(quota),
    }
    if message.hits_addend:
        out["hitsAddend"] = message.hits_addend
    over = {each.part.ask for each in everything if each.over and each.part.limit.quota}
    violated = [
        index for index, parts in enumerate(plan.descriptors) if any(part.ask in over for part in parts or ())
    ]
    if violated:
        out["quotaModeViolations"] = violated
    merged: dict[str, Any] = {}
    for each in everything:
        if each.decision.allowed and each.part.limit.metadata is not None:
            _merge(merged, each.part.limit.metadata)
    if merged:
        out["metadata"] = merged
    return out


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    """The first to say something is right; mappings are merged."""
    for key, value in more.items():
        if isinstance(value, Mapping):
            here = into.setdefault(key, {})
            if isinstance(here, dict):
                _merge(here, value)
        else:
            into.setdefault(key, value)
