"""Processes that the tests fork are as those that they would start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.harness import net, warm


def said(path: Path, arguments: Sequence[str], *, afresh: bool, **environment: str) -> tuple[int, str]:
    with path.open("wb") as output:
        process = warm.start(arguments, output, environment=os.environ | environment, afresh=afresh)
    return process.wait(60), path.read_text()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["version"], 0),
        (["bootstrap", "--id", "x", "--xds", "127.0.0.1:1"], 0),
        (["validate", "wrong.yaml"], 1),
        (["nothing"], 2),
    ],
    ids=lambda given: str(given[0]) if isinstance(given, list) else "",
)
def test_it_says_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wrong.yaml").write_text("apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {}\n")
    forked = said(tmp_path / "forked", arguments, afresh=False)
    assert forked[0] == code, forked[1]
    assert forked == said(tmp_path / "started", arguments, afresh=True)


def test_its_environment_is_its_own(tmp_path: Path) -> None:
    """And leaves nothing in the next one's."""
    wrong = said(tmp_path / "one", ["run", str(tmp_path)], afresh=False, DRAGOMAN_XDS_PORT="none")
    assert wrong[0] == 2
    assert "xds.port" in wrong[1] or "DRAGOMAN_XDS_PORT" in wrong[1]
    code, text = said(tmp_path / "two", ["bootstrap"], afresh=False)
    assert code == 0
    assert json.loads(text)


async def test_signals_reach_it(tmp_path: Path) -> None:
    """SIGTERM ends it as it should, SIGKILL tells its number; nobody else ends."""
    environment = os.environ | {"DRAGOMAN_XDS_PORT": "0", "DRAGOMAN_ADMIN_PORT": "0"}
    processes = []
    for name in ("ended", "killed", "other"):
        folder = tmp_path / name
        folder.mkdir()
        with (tmp_path / f"{name}.log").open("wb") as output:
            processes.append(warm.start(["run", str(folder)], output, environment=environment))
    ended, killed, other = processes
    try:
        for name in ("ended", "killed", "other"):
            log = tmp_path / f"{name}.log"
            await net.until("it serves", lambda log=log: "Ctrl-C stops everything" in log.read_text())
        assert len({process.pid for process in processes}) == 3
        with pytest.raises(subprocess.TimeoutExpired):
            ended.wait(0.1)
        assert [process.poll() for process in processes] == [None] * 3
        ended.send_signal(signal.SIGTERM)
        killed.kill()
        assert ended.wait(60) == ended.poll() == 0
        assert killed.wait(60) == killed.poll() == -signal.SIGKILL
        killed.terminate()  # long gone: neither an error, nor a signal for who has its id now
        assert other.poll() is None
    finally:
        for process in processes:
            process.kill()
            process.wait(60)
