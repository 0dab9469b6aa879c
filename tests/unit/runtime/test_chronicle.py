"""What is written down, and how often everything is looked at for that."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

import pytest

from dragoman.diagnostics import Diagnostic
from dragoman.graph.pipeline import Pipeline
from dragoman.runtime.chronicle import Chronicle
from dragoman.telemetry.metrics import Metrics
from tests.harness import net


class Findings:
    """Stands where the pipeline does."""

    def __init__(self) -> None:
        self.asked = 0
        self.found: list[Diagnostic] = []

    def diagnostics(self) -> list[Diagnostic]:
        self.asked += 1
        return list(self.found)


async def test_a_thousand_refusals_at_once_are_looked_at_together(caplog: pytest.LogCaptureFixture) -> None:
    pipeline = Findings()
    chronicle = Chronicle(cast(Pipeline, pipeline), Metrics())
    caplog.set_level(logging.INFO, "dragoman.changes")
    for number in range(1000):
        pipeline.found.append(Diagnostic("DRG4101", f"Envoy edge-{number} refused it"))
        chronicle.findings()
    await net.until("findings", lambda: caplog.messages)
    assert pipeline.asked == 1
    assert caplog.messages[-1] == "990 more findings: `dragoman status` lists them"
    pipeline.found.clear()
    chronicle.findings()
    await net.until("their end", lambda: caplog.messages[-1] == "1000 findings resolved")
    await asyncio.sleep(0)
    assert pipeline.asked == 2
