"""README, quickstart and the examples' pages are sessions at a terminal; this plays them, and they must go as
written.

Each document is played from its top to its bottom in a copy of the examples. All use the documented ports,
so they exclude one another (and any other `dragoman run` with default settings on the machine)."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs import blocks

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    "README.md",
    "docs/quickstart.md",
    *sorted(
        str(document.relative_to(ROOT))
        for document in ROOT.glob("examples/*/README.md")
        if blocks.read(document)
    ),
)

pytestmark = [pytest.mark.envoy, pytest.mark.slow, pytest.mark.timeout(300)]


class Terminal:
    """Runs commands in a folder of its own, and at most one in the background."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        scripts = Path(sys.executable).parent
        self.environment = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "HOME": str(folder)}
        self.environment.pop("DRAGOMAN_SERVER", None)
        self.background: subprocess.Popen[bytes] | None = None
        self.log = folder / ".background.log"

    def run(self, command: str) -> tuple[int, str]:
        """Exit code and what a reader would see, stdout and stderr together."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout

    def start(self, command: str) -> None:
        """In the background, in a process group of its own, until its own words say that it serves."""
        self.stop()
        with self.log.open("wb") as log:
            self.background = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + 60
        while "Ctrl-C" not in self.log.read_text():
            assert self.background.poll() is None, f"`{command}` ended:\n{self.log.read_text()}"
            assert time.monotonic() < end, f"`{command}` does not serve:\n{self.log.read_text()}"
            time.sleep(0.05)

    def stop(self) -> None:
        """Ctrl-C: the whole foreground group gets SIGINT. Nothing of it may be left."""
        if self.background is None:
            return
        process, self.background = self.background, None
        os.killpg(process.pid, signal.SIGINT)
        code = process.wait(30)
        assert code == 0, f"ended with {code}:\n{self.log.read_text()}"
        assert not _running(str(self.folder)), "something was left running"


def _running(marker: str) -> list[str]:
    """Command lines of Envoys whose environment names our folder: children that were left behind."""
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes()
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if f"HOME={marker}\0".encode() in environment and b"envoy" in command:
            found.append(command.replace(b"\0", b" ").decode())
    return found


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    lock = Path(tempfile.gettempdir()) / "dragoman-documented-ports.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        shutil.copytree(ROOT / "examples", tmp_path / "examples")
        terminal = Terminal(tmp_path)
        try:
            yield terminal
        finally:
            if terminal.background is not None:
                # The test has failed: end it as a reader would who has had enough.
                for _ in range(3):
                    os.killpg(terminal.background.pid, signal.SIGINT)
                terminal.background.wait(30)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document_plays(name: str, terminal: Terminal, envoy_binary: Path) -> None:
    for block in blocks.read(ROOT / name):
        if "elsewhere" in block.how:
            continue
        if "stop" in block.how:
            terminal.stop()
        for number, step in enumerate(block.steps):
            last = number == len(block.steps) - 1
            where = f"{name}:{block.line}: $ {step.command}"
            if last and "background" in block.how:
                terminal.start(step.command)
                continue
            _check(terminal, step, block.exit_code if last else 0, where, retry="retry" in block.how)
    terminal.stop()


def _check(terminal: Terminal, step: blocks.Step, wanted: int, where: str, *, retry: bool) -> None:
    expected = blocks.pattern(step.output)
    end = time.monotonic() + (20 if retry else 0)
    while True:
        code, printed = terminal.run(step.command)
        if code == wanted and (not step.output or expected.match(printed)):
            return
        if time.monotonic() > end:
            break
        time.sleep(0.05)
    background = terminal.log.read_text() if terminal.log.exists() else ""
    shown = "\n".join(step.output)
    raise AssertionError(
        f"{where}\nexit {code}, wanted {wanted}\n--- printed\n{printed}\n--- documented\n{shown}\n"
        f"{background}"
    )


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_is_not_played_is_about_installing(name: str) -> None:
    for block in blocks.read(ROOT / name):
        if "elsewhere" in block.how:
            for step in block.steps:
                assert step.command.startswith(
                    ("make ", "pip install", "python3 -m venv", "git clone", "kubectl", "cd ")
                ), step


def test_patterns() -> None:
    pattern = blocks.pattern(("NAME   STATE", "...", "edge... SYNCED"))
    assert pattern.match("NAME      STATE\nother  x\nedge-7 is SYNCED\n")
    assert pattern.match("NAME  STATE\nedge 1 SYNCED\n")
    assert not pattern.match("NAME  STATE\nedge 1 NACK\n")
