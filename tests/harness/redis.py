"""Real Redis for tests: a server, a cluster, or Sentinel with a master and a replica, on free ports.

Debian's `redis-server` (apt-get install redis-server) is the binary; without it tests are skipped with that
reason. Nothing is written to disk but a log, in the test's folder.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any, Self

import pytest

from dragoman.redis import command as commands, link, url
from tests.harness import net

BINARY = shutil.which("redis-server") or "/usr/bin/redis-server"


def need() -> None:
    """Skips the test where there is no redis-server."""
    if not Path(BINARY).is_file():
        pytest.skip("no redis-server (apt-get install redis-server)")


class Redis:
    """`async with Redis(folder) as redis: redis.url`. `options` are lines of redis.conf."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        password: str = "",
        socket: bool = False,
        tls: tuple[Path, Path, Path] | None = None,
        sentinel: bool = False,
    ) -> None:
        """`tls`: CA, certificate, key; clients must then show one of that CA."""
        need()
        self.port = net.free_port()
        self.password = password
        self.folder = folder / f"redis-{self.port}"
        self.folder.mkdir()
        self._tls = tls
        self._sentinel = sentinel
        self.socket = self.folder / "redis.sock" if socket else None
        lines = [
            "bind 127.0.0.1",
            f"dir {self.folder}",
            f"logfile {self.folder}/log",
            "daemonize no",
            *options,
        ]
        lines += [f"port {self.port}"] if tls is None else ["port 0", f"tls-port {self.port}"]
        if not sentinel:
            lines += ['save ""', "appendonly no"]
        if tls is not None:
            ca, certificate, key = tls
            lines += [f"tls-ca-cert-file {ca}", f"tls-cert-file {certificate}", f"tls-key-file {key}"]
        if password:
            lines.append(f"requirepass {password}")
        if socket:
            lines.append(f"unixsocket {self.socket}")
        self._config = self.folder / "redis.conf"
        self._config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        if self.socket is not None:
            return f"unix://{self.socket}"
        word = f":{self.password}@" if self.password else ""
        if self._tls is not None:
            ca, certificate, key = self._tls
            return f"rediss://{word}127.0.0.1:{self.port}?ca={ca}&certificate={certificate}&key={key}"
        return f"redis://{word}127.0.0.1:{self.port}"

    async def start(self) -> None:
        command = [BINARY, str(self._config), *(["--sentinel"] if self._sentinel else [])]
        self._process = subprocess.Popen(  # noqa: ASYNC220 (it must outlive any one event loop)
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        await net.until("redis-server answers", self._answers)

    async def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError((self.folder / "log").read_text()[-2000:])
        return bool(await self.call("PING") in (b"PONG", "PONG"))

    async def call(self, *words: str | bytes | int) -> Any:
        """The answer to a command. Raises OSError where nobody answers."""
        target = url.parse(self.url)
        talk = await link.open_connection(target.addresses[0], target, 5.0)
        try:
            if target.password:
                await link.log_in(talk, "", target.password)
            encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
            return await link.ask(talk, commands.bulk(*encoded))
        except Exception as failure:
            raise OSError(str(failure)) from failure
        finally:
            talk.close()

    async def kill(self) -> None:
        """Without a farewell, as a crash would."""
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
            self._process = None

    def freeze(self) -> None:
        """It stays there, and says nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()


class Cluster:
    """Three masters without replicas. `move` gives a slot to another node."""

    def __init__(self, folder: Path) -> None:
        self._buses = [net.free_port() for _ in range(3)]
        self.nodes = [
            Redis(folder, "cluster-enabled yes", "cluster-node-timeout 2000", f"cluster-port {bus}")
            for bus in self._buses
        ]

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port}"

    async def __aenter__(self) -> Self:
        for node in self.nodes:
            await node.start()
        step = 16384 // 3 + 1
        for index, node in enumerate(self.nodes):
            first, last = index * step, min((index + 1) * step, 16384) - 1
            await node.call("CLUSTER", "ADDSLOTSRANGE", first, last)
            await node.call("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        for node in self.nodes[1:]:
            await node.call("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port, self._buses[0])
        await net.until("the cluster is one", self._whole)
        return self

    async def _whole(self) -> bool:
        for node in self.nodes:
            state = (await node.call("CLUSTER", "INFO")).decode()
            if "cluster_state:ok" not in state or "cluster_known_nodes:3" not in state:
                return False
        return True

    async def owner(self, slot: int) -> Redis:
        ports = {node.port: node for node in self.nodes}
        for first, last, master, *_ in await self.nodes[0].call("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return ports[master[1]]
        raise AssertionError(slot)

    async def begin_move(self, slot: int) -> tuple[Redis, Redis]:
        """The slot is on its way (ASK for keys that are not there any more): from, to."""
        here = await self.owner(slot)
        there = next(node for node in self.nodes if node is not here)
        await there.call("CLUSTER", "SETSLOT", slot, "IMPORTING", await here.call("CLUSTER", "MYID"))
        await here.call("CLUSTER", "SETSLOT", slot, "MIGRATING", await there.call("CLUSTER", "MYID"))
        return here, there

    async def end_move(self, slot: int, here: Redis, there: Redis) -> None:
        for key in await here.call("CLUSTER", "GETKEYSINSLOT", slot, 1000):
            await here.call("MIGRATE", "127.0.0.1", there.port, key, 0, 5000)
        target = await there.call("CLUSTER", "MYID")
        for node in (there, here, *self.nodes):
            await node.call("CLUSTER", "SETSLOT", slot, "NODE", target)

    async def __aexit__(self, *_: object) -> None:
        for node in self.nodes:
            await node.kill()


class Watched:
    """A master, a replica and one Sentinel that makes the replica the master when the first is away."""

    def __init__(self, folder: Path) -> None:
        self.first = Redis(folder)
        self.second = Redis(folder, f"replicaof 127.0.0.1 {self.first.port}")
        self.sentinel = Redis(
            folder,
            f"sentinel monitor mymaster 127.0.0.1 {self.first.port} 1",
            "sentinel down-after-milliseconds mymaster 500",
            "sentinel failover-timeout mymaster 2000",
            sentinel=True,
        )

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/mymaster"

    async def __aenter__(self) -> Self:
        for each in (self.first, self.second, self.sentinel):
            await each.start()

        async def known() -> bool:
            found = await self.sentinel.call("SENTINEL", "REPLICAS", "mymaster")
            state = (await self.second.call("INFO", "replication")).decode()
            return len(found) == 1 and "master_link_status:up" in state

        await net.until("Sentinel knows the replica", known)
        return self

    async def __aexit__(self, *_: object) -> None:
        for each in (self.sentinel, self.first, self.second):
            await each.kill()
