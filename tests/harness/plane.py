"""The control plane as users run it: `dragoman run FOLDER` in a process of its own, and files that tests
write.

Writes are atomic renames, as editors and deployment tools make them. `kill` is SIGKILL: nothing is said to
Envoy. A plane that is started again is a fresh interpreter (`warm`): nothing may hang on the order of a set.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from tests.harness import manifests, net, warm


class Plane:
    """`async with Plane(folder) as plane: plane.write("route.yaml", ...)`."""

    def __init__(
        self,
        folder: Path,
        *,
        arguments: Iterable[str] = (),
        environment: dict[str, str] | None = None,
        log_level: str = "info",
    ) -> None:
        self.folder = folder / "manifests"
        self.folder.mkdir(exist_ok=True, parents=True)
        self.xds_port = net.free_port()
        self.admin_port = net.free_port()
        self._log = folder / "dragoman.log"
        self._arguments = list(arguments)
        self._environment = {"DRAGOMAN_LOG_LEVEL": log_level, **(environment or {})}
        self._process: warm.Process | None = None
        self._again = False

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text()

    def write(self, name: str, *objects: manifests.Body) -> None:
        """Makes or replaces a file, by rename. `name` may not begin with a dot."""
        draft = self.folder.parent / f"{name}.draft"
        draft.write_text(manifests.dump(objects))
        draft.rename(self.folder / name)

    def remove(self, name: str) -> None:
        (self.folder / name).unlink()

    def set(self, **environment: str) -> None:
        """What is different in the environment of the next start."""
        self._environment |= environment

    async def start(self, *, ready: bool = True, limit: float = 60) -> None:
        """`ready` waits, `limit` seconds, until it says that every file is read and xDS is served."""
        environment = os.environ | self._environment
        environment |= {"DRAGOMAN_XDS_PORT": str(self.xds_port), "DRAGOMAN_ADMIN_PORT": str(self.admin_port)}
        with self._log.open("ab") as log:
            arguments = ["run", str(self.folder), *self._arguments]
            self._process = warm.start(arguments, log, environment=environment, afresh=self._again)
        self._again = True
        if ready:
            await net.until("the control plane ready", self._ready, limit=limit)

    def _ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"dragoman ended with {self._process.returncode}:\n{self.log[-3000:]}")
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)

    async def get(self, path: str) -> Any:
        """An admin page; decoded where it is JSON."""
        text = await asyncio.to_thread(self._fetch, path)
        return json.loads(text) if path.startswith("/api/") else text

    def _fetch(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}{path}", timeout=10) as answer:
            return answer.read().decode()  # type: ignore[no-any-return]

    async def metrics(self, prefix: str) -> dict[str, float]:
        """Samples of `/metrics` whose name begins with `prefix`; labels stay in the key."""
        lines = (await self.get("/metrics")).splitlines()
        found = (line.rpartition(" ") for line in lines if line.startswith(prefix))
        return {name: float(value) for name, _, value in found}

    async def stop(self) -> None:
        """As `systemctl stop` does it."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        await self._end(signal.SIGKILL)

    async def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        await asyncio.to_thread(self._process.wait, 20)
        self._process = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
