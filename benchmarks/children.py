"""Helper processes of a benchmark that are spoken to by lines, and ended whatever happens."""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType
from typing import Self


class Child:
    """`with Child("benchmarks.bare", port, path) as child: child.expect("ready"); child.say("push 1")`."""

    def __init__(self, module: str, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        """The next line; `RuntimeError` where the process has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the helper process ended with {self._process.wait()}")
        return line.strip()

    def expect(self, wanted: str) -> None:
        heard = self.hear()
        if heard != wanted:
            raise RuntimeError(f"expected {wanted!r} of the helper process, got {heard!r}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
