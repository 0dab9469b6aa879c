"""Processes of `dragoman` without the seconds that its imports take: forked from one that has imported.

Within `up` (tests/conftest.py: all tests of a worker) `start` forks; elsewhere, in benchmarks for instance,
it starts an interpreter. A fork is a process of its own, with the arguments, environment, folder and signals
that it would have had; what it shares with the others is what importing left, and the seed of `hash`. So
whoever starts something again, to see that it does the same, starts it `afresh`.

A fork is no child of ours: the process that it came of (`stem`) waits for it, and tells its end by a pipe.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from tests.harness import stem


class Fork:
    """A process, with what `subprocess.Popen` has for it."""

    def __init__(self, arguments: Sequence[str], pid: int, end: int) -> None:
        self.args = list(arguments)
        self.pid = pid
        self.returncode: int | None = None
        self._end = end

    def poll(self) -> int | None:
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Raises `subprocess.TimeoutExpired`."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._end], [], [], timeout)[0]:
            told = os.read(self._end, stem.NUMBER.size)
            os.close(self._end)
            # Nothing: whoever should have told was killed, and nobody knows how this ended.
            self.returncode = stem.NUMBER.unpack(told)[0] if told else -signal.SIGKILL
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Process = subprocess.Popen[bytes] | Fork


class _Stem:
    """The process that forks. Started at first use."""

    def __init__(self) -> None:
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._one = threading.Lock()

    def fork(self, arguments: Sequence[str], environment: Mapping[str, str], output: int) -> Fork:
        text = json.dumps([list(arguments), dict(environment), str(Path.cwd())]).encode()
        end, told = os.pipe()
        try:
            with self._one:
                control = self._control or self._begin()
                socket.send_fds(control, [stem.NUMBER.pack(len(text))], [output, told])
                control.sendall(text)
                pid = stem.number(control)
        except BaseException:
            os.close(end)
            raise
        finally:
            os.close(told)
        return Fork(arguments, pid, end)

    def _begin(self) -> socket.socket:
        self._control, other = socket.socketpair()
        with other:
            command = [sys.executable, "-m", "tests.harness.stem", str(other.fileno())]
            root = Path(__file__).parents[2]
            self._process = subprocess.Popen(command, cwd=root, pass_fds=[other.fileno()])
        return self._control

    def close(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.wait()


_stem: _Stem | None = None


@contextlib.contextmanager
def up() -> Iterator[None]:
    """For as long, `start` forks."""
    global _stem
    _stem = made = _Stem()
    try:
        yield
    finally:
        _stem = None
        made.close()


def start(
    arguments: Sequence[str],
    output: BinaryIO,
    *,
    environment: Mapping[str, str] | None = None,
    afresh: bool = False,
) -> Process:
    """`dragoman ARGUMENTS`; what it says on both streams goes to the file `output`."""
    environment = os.environ if environment is None else environment
    if _stem is not None and not afresh:
        return _stem.fork(arguments, environment, output.fileno())
    command = [sys.executable, "-m", "dragoman", *arguments]
    return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=dict(environment))
