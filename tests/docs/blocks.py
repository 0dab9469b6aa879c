"""Command blocks of Markdown documents, and the shell that runs them as a reader would.

A block is fenced as ```console; lines that begin with `$ ` are commands (continued by a trailing backslash),
the lines below one are what it prints. `...` stands for any text within a line, and alone on a line for any
number of lines. What follows `console` in the fence says how the block is run:

- `background`: the last command keeps running until the document ends, or until a block marked `stop`;
- `stop`: a reader presses Ctrl-C in the first terminal; the background command must end cleanly;
- `exit=1`: the last command ends with this code;
- `elsewhere`: not run here, needs a fresh machine or a cluster (`test_blocks` lists them);
- `retry`: what the command prints takes a moment to become so; it is asked again until it does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```console(?P<how>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """One command and the lines expected below it."""

    command: str
    output: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    line: int
    how: frozenset[str]
    steps: tuple[Step, ...]

    @property
    def exit_code(self) -> int:
        return next((int(word.removeprefix("exit=")) for word in self.how if word.startswith("exit=")), 0)


def read(document: Path) -> list[Block]:
    """Every console block of a document, in order."""
    text = document.read_text()
    return [
        Block(text.count("\n", 0, found.start()) + 1, frozenset(found["how"].split()), _steps(found["body"]))
        for found in _FENCE.finditer(text)
    ]


def _steps(body: str) -> tuple[Step, ...]:
    steps: list[tuple[str, list[str]]] = []
    continued = False
    for line in body.splitlines():
        if continued:
            command, output = steps[-1]
            steps[-1] = (f"{command}\n{line}", output)
            continued = line.endswith("\\")
        elif line.startswith("$ "):
            steps.append((line[2:], []))
            continued = line.endswith("\\")
        else:
            steps[-1][1].append(line)
    return tuple(Step(command, tuple(output)) for command, output in steps)


def pattern(output: tuple[str, ...]) -> re.Pattern[str]:
    """What the printed text must match as a whole."""
    lines: list[str] = []
    for line in output:
        if line.strip() == "...":
            lines.append(r"(?:[^\n]*\n)*?")
        else:
            lines.append(r"[^\n]*".join(_spaced(part) for part in line.rstrip().split("...")) + r"[ ]*\n")
    return re.compile("".join(lines) + r"\Z")


def _spaced(text: str) -> str:
    """Literal, but for runs of blanks: columns are as wide as their content."""
    return re.sub(r"(?:\\ ){2,}", r"[ ]{2,}", re.escape(text))
