"""How long the command line takes to say something: `--help`, and `validate` of a folder of 20 documents."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks import worlds
from benchmarks.report import Goal, Table, high, median, ms, ratio

_RUNS = 15


def measure(folder: Path) -> list[Table]:
    table = Table(
        "Command line",
        ("command", "median ms", "90 % ms", "to `python -c pass`"),
        notes=[f"{_RUNS} runs each, warm disk cache, in turn"],
    )
    documents = folder / "twenty"
    # 6 routes with Service and EndpointSlice, a Gateway and its class.
    worlds.write(documents, 6, listen=8080, backend=9000)
    dragoman = [sys.executable, "-m", "dragoman"]
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -c 'import click'": [sys.executable, "-c", "import click"],
        "dragoman --help": [*dragoman, "--help"],
        "dragoman validate --help": [*dragoman, "validate", "--help"],
        "dragoman validate FOLDER (20 documents)": [*dragoman, "validate", str(documents)],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(_RUNS):
        for name, command in commands.items():
            begun = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times[name].append(time.perf_counter() - begun)
    floor = median(times["python -c pass"])
    for name, taken in times.items():
        table.rows.append((f"`{name}`", ms(median(taken)), ms(high(taken)), ratio(median(taken), floor)))
    table.goals.append(Goal("`dragoman --help`", median(times["dragoman --help"]), 0.2, "s"))
    validate = median(times["dragoman validate FOLDER (20 documents)"])
    table.goals.append(Goal("`validate` of 20 documents", validate, 0.6, "s"))
    return [table]
