"""Drives rollouts: every half second it looks at the plans, measures what is due, lets `machine` decide,
keeps the decision in the state file and then puts it into the graph, in this order.

One per control plane, run by the runtime; it sleeps while there is no Rollout. What is decided reaches routes
and statuses like any other change, as one batch.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import aiohttp

from dragoman.ir.rollouts import Check, Plan, Progress
from dragoman.refs import Ref
from dragoman.rollout import access_log, machine, prometheus, state
from dragoman.rollout.machine import Measurement
from dragoman.rollout.tally import Tally
from dragoman.telemetry.logs import fields

log: Final = logging.getLogger("dragoman.rollout")

TICK: Final = 0.5
"""Seconds between two looks."""

_WORDS: Final = {True: "good", False: "bad", None: "none"}
_GROUP: Final = "dragoman.dev"
_KIND: Final = "Rollout"


class Graph(Protocol):
    """The part of `graph.pipeline.Pipeline` that is needed."""

    @property
    def rollouts(self) -> Mapping[Ref, Plan]: ...

    def holds(self, ref: Ref) -> bool: ...

    def put_progress(self, ref: Ref, progress: Progress | None) -> None: ...

    def follow_rollouts(self, changed: Callable[[], None]) -> None: ...


class UnknownRollout(LookupError):  # noqa: N818  (reads as what happened)
    """No Rollout, or several, answer to a name; the message says which there are."""


class Controller:
    """`restore` before the first configuration is built, then `run`. `nudge` runs a function within the next
    batch; `count` hears of every measurement (Rollout, `good`, `bad` or `none`)."""

    def __init__(
        self,
        graph: Graph,
        nudge: Callable[[Callable[[], None]], None],
        file: state.File,
        clock: Callable[[], float] = time.time,
        count: Callable[[str, str], None] = lambda _, __: None,
    ) -> None:
        self._graph = graph
        self._nudge = nudge
        self._file = file
        self._clock = clock
        self._count = count
        self._known: dict[Ref, Progress] = {}
        self._tallies: dict[tuple[Ref, int], Tally] = {}
        self._wake = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None
        graph.follow_rollouts(self._wake.set)

    def restore(self) -> None:
        """Puts what the last control plane left into the graph."""
        self._known = self._file.load()
        for ref, progress in self._known.items():
            self._graph.put_progress(ref, progress)

    async def run(self) -> None:
        """Works until cancelled."""
        try:
            while True:
                if not self._known and not self._graph.rollouts:
                    self._wake.clear()
                    await self._wake.wait()
                try:
                    await self.tick()
                except Exception:
                    # The supervisor of all rollouts: one that cannot be judged must not end the others.
                    log.exception("rollouts could not be looked at")
                await asyncio.sleep(TICK)
        finally:
            await self.close()

    async def close(self) -> None:
        """Lets go of connections to Prometheus."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def tick(self) -> None:
        """One look at every rollout."""
        measured = await self._measure()
        changed: dict[Ref, Progress | None] = {}
        now = self._clock()
        plans = self._graph.rollouts
        for ref, plan in plans.items():
            before = self._known.get(ref)
            after = machine.step(plan, before, now, measured.get((ref, plan.checks), {}))
            if after is not None and after != before:
                changed[ref] = after
        for ref in self._known.keys() - plans.keys():
            # A plan may be gone for a while, as when its route is; an object that is gone ends its rollout.
            if not self._graph.holds(ref):
                changed[ref] = None
        self._decide(changed)

    @property
    def weights(self) -> Mapping[str, int]:
        """Rollout's namespace and name -> the canary's percent."""
        return {ref.id: progress.weight for ref, progress in self._known.items()}

    # --- for people ---------------------------------------------------------------------------------------

    def find(self, name: str) -> Ref:
        """The Rollout `namespace/name` or `name`. Raises `UnknownRollout`."""
        known = sorted(self._graph.rollouts)
        found = [ref for ref in known if name in (ref.id, ref.name)]
        exact = [ref for ref in found if ref.id == name]
        if len(exact or found) == 1:
            return (exact or found)[0]
        if found:
            raise UnknownRollout(f"{name} could be {', '.join(ref.id for ref in found)}")
        listed = ", ".join(ref.id for ref in known) or "none"
        raise UnknownRollout(f"there is no accepted Rollout {name}; there are: {listed}")

    def approve(self, name: str) -> Ref:
        """Lets a step go on, or overrules a hold. Raises `UnknownRollout` and `machine.Refused`."""
        return self._by_hand(name, machine.approve)

    def abort(self, name: str) -> Ref:
        """Takes a canary back. Raises as `approve` does."""
        return self._by_hand(name, machine.abort)

    def _by_hand(self, name: str, act: Callable[[Plan, Progress | None, float], Progress]) -> Ref:
        ref = self.find(name)
        after = act(self._graph.rollouts[ref], self._known.get(ref), self._clock())
        self._decide({ref: after})
        return ref

    # --- measuring ----------------------------------------------------------------------------------------

    def heard(self, requests: Iterable[access_log.Request]) -> None:
        """Takes what Envoy reports. Requests of other backends than the canary say nothing."""
        plans = self._graph.rollouts
        for request in requests:
            namespace, _, name = request.rollout.partition("/")
            ref = Ref(_GROUP, _KIND, namespace, name)
            plan = plans.get(ref)
            if plan is None or plan.canary is None or plan.canary[:2] != request.backend:
                continue
            for at, check in enumerate(plan.checks):
                if check.query is None:
                    tally = self._tallies.setdefault((ref, at), Tally())
                    tally.add(good=request.good, seconds=request.seconds)

    async def _measure(self) -> dict[tuple[Ref, tuple[Check, ...]], dict[int, Measurement]]:
        """What every check that is due has found. Queries are asked all at once; who edits the checks
        meanwhile has asked something else."""
        now = self._clock()
        found: dict[tuple[Ref, tuple[Check, ...]], dict[int, Measurement]] = {}
        asked: list[tuple[dict[int, Measurement], int, asyncio.Task[Measurement]]] = []
        async with asyncio.TaskGroup() as tasks:
            for ref, plan in self._graph.rollouts.items():
                for at in machine.due(plan, self._known.get(ref), now):
                    check, here = plan.checks[at], found.setdefault((ref, plan.checks), {})
                    if check.query is None:
                        here[at] = self._judge(ref, at, check)
                    else:
                        asking = prometheus.ask(self._http(), check.query)
                        asked.append((here, at, tasks.create_task(asking)))
        for here, at, task in asked:
            here[at] = task.result()
        for (ref, _), each in found.items():
            for measurement in each.values():
                self._count(ref.id, _WORDS[measurement.good])
        return found

    def _judge(self, ref: Ref, at: int, check: Check) -> Measurement:
        """By what Envoy reported. A tally that gave a verdict is used up; one that could not goes on."""
        measurement = self._tallies.get((ref, at), Tally()).judge(check)
        if measurement.good is not None:
            del self._tallies[ref, at]
        return measurement

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(trust_env=False)
        return self._session

    # --- deciding -----------------------------------------------------------------------------------------

    def _decide(self, changed: Mapping[Ref, Progress | None]) -> None:
        """Keeps what was decided, then lets it out."""
        if not changed:
            return
        decided = False
        for ref, after in changed.items():
            before = self._known.get(ref)
            if after is None:
                self._known.pop(ref, None)
            else:
                self._known[ref] = after
            if _decisions(before) == _decisions(after):
                continue
            decided = True
            for key in [key for key in self._tallies if key[0] == ref]:
                del self._tallies[key]
            if after is not None:
                about = fields(phase=after.phase.value, weight=after.weight)
                log.info("%s %s", ref, after.message, extra=about)
        if decided:
            self._file.save(self._known)

        def put() -> None:
            for ref in changed:
                self._graph.put_progress(ref, self._known.get(ref))

        self._nudge(put)


def _decisions(progress: Progress | None) -> Any:
    """The part of a progress that must survive. Verdicts are given again soon enough."""
    if progress is None:
        return None
    one = progress
    return one.digest, one.phase, one.step, one.since, one.changed, one.approved
