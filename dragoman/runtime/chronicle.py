"""Writes down what changed: one line per object, what it became, and how long it took.

Called after a batch's resources are on their way, never before. Large batches (the first load, a folder
swapped) get one line that counts by kind. New findings are logged at their severity, with their place;
findings that went away too."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from dragoman.admin import views
from dragoman.diagnostics import Diagnostic, Severity
from dragoman.graph.pipeline import Pipeline
from dragoman.refs import Ref
from dragoman.runtime.feed import Batch
from dragoman.telemetry.logs import fields
from dragoman.telemetry.metrics import Metrics

log = logging.getLogger("dragoman.changes")

_LINES: Final = 10
"""Batches of more objects are summed up, and so are more findings at once."""

_PAUSE: Final = 0.1
"""Seconds for which refusals are gathered: a thousand proxies refuse the same thing at the same time, and all
findings are compared with those of before."""

_LEVEL: Final = {
    Severity.ERROR: logging.ERROR,
    Severity.WARNING: logging.WARNING,
    Severity.INFO: logging.INFO,
}


class Chronicle:
    """Remembers which findings there were, to tell news from what is known."""

    def __init__(self, pipeline: Pipeline, metrics: Metrics) -> None:
        self._pipeline = pipeline
        self._metrics = metrics
        self._findings: dict[Diagnostic, str] = {}
        self._due: asyncio.TimerHandle | None = None

    def batch(self, batch: Batch, changed: Mapping[str, int]) -> None:
        """A batch is through; `changed` counts resources by type."""
        news: dict[Ref, str] = {}
        for ref, there in batch.changes.items():
            if there:
                news[ref] = "changed" if ref in batch.before else "added"
            else:
                news[ref] = "removed"
        new, gone = self._compare()
        errors = Counter(item.ref for item in new if item.severity is Severity.ERROR)
        self._metrics.batches.inc()
        self._metrics.build.observe(batch.build)
        for ref in news:
            self._metrics.changes.labels(ref.kind).inc()
        extra = fields(took=f"{batch.total * 1000:.1f}ms", **dict(sorted(changed.items())))
        if len(news) > _LINES:
            kinds = Counter(ref.kind for ref in news)
            listed = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
            log.info("%d objects: %s", len(news), listed, extra=extra)
        else:
            for ref, what in news.items():
                became = (
                    f"{errors[ref]} error{'s' if errors[ref] > 1 else ''}"
                    if errors[ref]
                    else self._became(ref, what)
                )
                log.info("%s %s%s", ref, what, f": {became}" if became else "", extra=extra)
        self._tell(new, gone)

    def findings(self) -> None:
        """Logs what is newly wrong and what is no longer, presently."""
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_PAUSE, self._tell_findings)

    def _tell_findings(self) -> None:
        self._due = None
        self._tell(*self._compare())

    def _compare(self) -> tuple[list[Diagnostic], list[str]]:
        """New findings, and the lines of those that went away (their place may have gone with them)."""
        now = self._pipeline.diagnostics()
        new = [item for item in now if item not in self._findings]
        lines = {item: self._findings.pop(item, "") or self.line(item) for item in now}
        gone = list(self._findings.values())
        self._findings = lines
        return new, gone

    def _tell(self, new: Sequence[Diagnostic], gone: Sequence[str]) -> None:
        for item in new[:_LINES]:
            log.log(_LEVEL[item.severity], "%s", self._findings[item])
        if len(new) > _LINES:
            log.warning("%d more findings: `dragoman status` lists them", len(new) - _LINES)
        if len(gone) > _LINES:
            log.info("%d findings resolved", len(gone))
            return
        for line in gone:
            log.info("resolved: %s", line)

    def line(self, item: Diagnostic) -> str:
        """`shop.yaml:12:30: error[DRG1104]: message (HTTPRoute shop/cart)`."""
        span = item.span or (self._pipeline.locate(item.ref, item.path) if item.ref else None)
        place = f"{span}: " if span else ""
        owner = f" ({item.ref})" if item.ref else ""
        return f"{place}{item.severity.label}[{item.code}]: {item.message.strip()}{owner}"

    def severities(self) -> Mapping[Severity, int]:
        """How many findings there are at present."""
        return Counter(item.severity for item in self._findings)

    def _became(self, ref: Ref, what: str) -> str:
        status = self._pipeline.status(ref) if what != "removed" else None
        if status is None:
            return ""
        # What proxies make of it is not known yet; what they refuse has lines of its own.
        return ", ".join(words for _, words in views.verdicts(status.body) if "Programmed" not in words)
