"""The views that streams use, counted: `xds.types.Provider` over the pipeline.

A group is built when its first stream comes and kept for a grace period after its last one has gone, so that
a proxy that reconnects finds everything ready. What views are told is counted here for the log and the
metrics."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from dragoman import garbage
from dragoman.graph.pipeline import Pipeline
from dragoman.resource import SHORT
from dragoman.xds.types import Changes

if TYPE_CHECKING:
    from dragoman.xds.snapshot import View


class Groups:
    """`settle` is called before a group is built: a batch that is half applied must not show. `dropped` hears
    of each group that is."""

    def __init__(
        self,
        pipeline: Pipeline,
        grace: float,
        settle: Callable[[], None],
        dropped: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._pipeline = pipeline
        self._grace = grace
        self._settle = settle
        self._dropped = dropped
        self._views: dict[str, View] = {}
        self._uses: Counter[str] = Counter()
        self._leaving: dict[str, asyncio.TimerHandle] = {}
        self._unsubscribe: dict[str, Callable[[], None]] = {}
        self._changed: Counter[str] = Counter()
        self.ready = asyncio.Event()
        """Set once the first configuration is complete."""

    def acquire(self, group: str) -> View:
        """The group's live view. Pair with `release`."""
        assert self.ready.is_set()
        timer = self._leaving.pop(group, None)
        if timer is not None:
            timer.cancel()
        view = self._views.get(group)
        if view is None:
            self._settle()
            with garbage.spared():
                view = self._views[group] = self._pipeline.activate(group)
            self._unsubscribe[group] = view.subscribe(self._count)
        self._uses[group] += 1
        return view

    def release(self, group: str) -> None:
        """One stream less. Dropped when none has come back within the grace period."""
        self._uses[group] -= 1
        if self._uses[group] > 0:
            return
        del self._uses[group]
        if self._grace <= 0:
            self._drop(group)
        else:
            self._leaving[group] = asyncio.get_running_loop().call_later(self._grace, self._drop, group)

    def take_changed(self) -> Mapping[str, int]:
        """Resources changed since the last call, by type (`RDS`), over all views."""
        changed, self._changed = self._changed, Counter()
        return changed

    @property
    def uses(self) -> Mapping[str, int]:
        """Group -> streams, without those that only linger."""
        return self._uses

    def close(self) -> None:
        for timer in self._leaving.values():
            timer.cancel()
        self._leaving.clear()

    def _drop(self, group: str) -> None:
        self._leaving.pop(group, None)
        self._unsubscribe.pop(group)()
        del self._views[group]
        self._pipeline.deactivate(group)
        self._dropped(group)

    def _count(self, changes: Changes) -> None:
        for type_url, named in changes.items():
            self._changed[SHORT.get(type_url, type_url)] += len(named)
