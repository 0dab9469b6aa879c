"""CPU time and memory of other processes, from /proc."""

from __future__ import annotations

import os
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def cpu(pid: int) -> float:
    """User and system seconds so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def exact_cpu(pid: int) -> float:
    """The same of its live threads, to the nanosecond instead of the tick of a clock."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def main_cpu(pid: int) -> float:
    """The same of its main thread alone: where Envoy takes configuration in."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9


def rss(pid: int) -> int:
    """Resident bytes now."""
    return _status(pid, "VmRSS")


def peak(pid: int) -> int:
    """Most resident bytes so far."""
    return _status(pid, "VmHWM")


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0
