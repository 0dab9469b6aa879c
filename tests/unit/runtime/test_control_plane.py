"""Starting and stopping in order, and what happens when something cannot start or breaks."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from dragoman import config
from dragoman.diagnostics import Diagnostic, Span
from dragoman.document import Document
from dragoman.refs import Ref
from dragoman.runtime import ControlPlane, StartError
from dragoman.sources.base import Update

BACKEND = Ref("dragoman.dev", "Backend", "shop", "web")


def backend(address: str) -> Document:
    body = {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "Backend",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"endpoints": [{"address": address, "port": 80}]},
    }
    return Document(BACKEND, body)


class Script:
    """A source that says what a test tells it to."""

    def __init__(self, *first: Document) -> None:
        self.first = first
        self.updates: asyncio.Queue[Update | Exception] = asyncio.Queue()
        self.loads = 0

    def load(self) -> Update:
        self.loads += 1
        return Update(self.first)

    def pieces(self) -> Iterator[Update]:
        yield self.load()

    async def watch(self) -> AsyncIterator[Update]:
        while True:
            update = await self.updates.get()
            if isinstance(update, Exception):
                raise update
            yield update


def settings(**more: object) -> config.Settings:
    data = {"xds": {"port": 0, "drain": 0}, "admin": {"port": 0}, "batch": {"window": 0}, **more}
    return config.Settings.model_validate(data)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class Running:
    """A control plane in a task of its own, until the block ends."""

    def __init__(self, source: Script, *companions: object) -> None:
        self.plane = ControlPlane(settings(), source, companions=companions)  # type: ignore[arg-type]

    async def __aenter__(self) -> ControlPlane:
        self.task = asyncio.ensure_future(self.plane.run())
        await until(lambda: not self.plane.not_ready() or self.task.done())
        return self.plane

    async def __aexit__(self, *_: object) -> None:
        self.plane.stop()
        await self.task


async def test_ready_when_everything_is_loaded_and_not_when_it_stops() -> None:
    running = Running(Script(backend("10.0.0.1")))
    assert running.plane.not_ready() == "starting"
    async with running as plane:
        assert plane.not_ready() == ""
        assert BACKEND in plane.pipeline.objects
    assert plane.not_ready() == "stopping"


async def test_changes_are_followed() -> None:
    source = Script(backend("10.0.0.1"))
    async with Running(source) as plane:
        source.updates.put_nowait(Update((backend("10.0.0.2"),)))
        await until(lambda: plane.pipeline.objects[BACKEND].spec.endpoints[0].address == "10.0.0.2")
        source.updates.put_nowait(Update((), (BACKEND,)))
        await until(lambda: not plane.pipeline.objects)


async def test_a_source_that_breaks_is_read_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dragoman.runtime.control_plane._RETRY", 0.0)
    source = Script(backend("10.0.0.1"))
    async with Running(source) as plane:
        source.first = (backend("10.0.0.3"),)
        source.updates.put_nowait(RuntimeError("lost"))
        await until(lambda: plane.pipeline.objects[BACKEND].spec.endpoints[0].address == "10.0.0.3")
    assert "the source broke" in caplog.text


async def test_news_are_written_down_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dragoman.changes")
    wrong = Diagnostic("DRG1001", "not YAML", span=Span("a.yaml", 3, 7))
    source = Script(backend("10.0.0.1"))
    async with Running(source):
        await until(lambda: "Backend shop/web added" in caplog.text)
        source.updates.put_nowait(Update((backend("10.0.0.2"),), (), (wrong,)))
        await until(lambda: "a.yaml:3:7: error[DRG1001]: not YAML" in caplog.text)
        assert "Backend shop/web changed" in caplog.text
        source.updates.put_nowait(Update((), (BACKEND,)))
        await until(lambda: "resolved: a.yaml:3:7" in caplog.text)
        assert "Backend shop/web removed" in caplog.text
    assert caplog.text.count("error[DRG1001]") == 2  # when it came, and when it went


@pytest.mark.parametrize(("section", "what"), [("admin", "the admin server"), ("xds", "the xDS server")])
async def test_a_port_that_is_taken(section: str, what: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        wanted = settings(**{section: {"port": port}} | {"admin" if section == "xds" else "xds": {"port": 0}})
        with pytest.raises(
            StartError, match=f"{what} cannot listen on 127.0.0.1:{port}: the port is in use"
        ) as raised:
            await ControlPlane(wanted, Script()).run()
    assert raised.value.code == "DRG5003"
    assert f"--{section}-port" in raised.value.help


class Companion:
    name = "companion"

    def __init__(self, *, fails: bool = False, hangs: bool = False) -> None:
        self.told: list[str] = []
        self._fails = fails
        self._hangs = hangs

    async def run(self, ready: Callable[[], None]) -> None:
        self.told.append("run")
        try:
            if self._fails:
                raise StartError("DRG5006", "it does not start")
            if not self._hangs:
                ready()
            await asyncio.Event().wait()
        finally:
            self.told.append("end")

    def kill(self) -> None:
        self.told.append("kill")


async def test_companions_run_while_it_serves() -> None:
    companion = Companion()
    async with Running(Script(), companion):
        await until(lambda: companion.told)
    assert companion.told == ["run", "end"]


async def test_a_companion_that_cannot_start_ends_it_all() -> None:
    with pytest.raises(StartError, match="it does not start"):
        await ControlPlane(settings(), Script(), companions=[Companion(fails=True)]).run()


async def test_stopping_does_not_wait_for_a_companion_that_hangs() -> None:
    companion = Companion(hangs=True)
    started: list[ControlPlane] = []
    plane = ControlPlane(settings(), Script(), companions=[companion], started=started.append)
    running = asyncio.ensure_future(plane.run())
    await until(lambda: companion.told)
    plane.stop()
    await running
    assert companion.told == ["run", "end"]
    assert started == []


async def test_signals_end_it() -> None:
    running = Running(Script())
    async with running:
        os.kill(os.getpid(), signal.SIGTERM)
        await running.task


class Slow(Companion):
    """Takes its time to end, unless somebody has no more patience."""

    def __init__(self) -> None:
        super().__init__()
        self._killed = asyncio.Event()

    async def run(self, ready: Callable[[], None]) -> None:
        try:
            await super().run(ready)
        finally:
            await self._killed.wait()

    def kill(self) -> None:
        super().kill()
        self._killed.set()


async def test_a_second_signal_waits_no_more() -> None:
    companion = Slow()
    running = Running(Script(), companion)
    async with running:
        await until(lambda: companion.told)
        os.kill(os.getpid(), signal.SIGINT)
        await until(lambda: "end" in companion.told)
        os.kill(os.getpid(), signal.SIGINT)
        await running.task
    assert companion.told == ["run", "end", "kill"]
