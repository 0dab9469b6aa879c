"""Finding and running Envoy, with small programs in its place."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest

from dragoman.envoy import process
from dragoman.envoy.admin import Admin
from tests.harness import net


def program(folder: Path, text: str) -> Path:
    path = folder / "envoy"
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return path


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No `$ENVOY`, no package."""
    monkeypatch.delenv("ENVOY", raising=False)
    monkeypatch.setitem(sys.modules, "envoy", None)
    return monkeypatch


def test_found_where_it_is_said_to_be(elsewhere: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = program(tmp_path, "")
    assert process.find(path) == path
    elsewhere.setenv("ENVOY", str(path))
    assert process.find() == path
    with pytest.raises(process.EnvoyNotFoundError, match="is not a program"):
        process.find(tmp_path / "other")


def test_found_on_the_search_path(elsewhere: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = program(tmp_path, "")
    elsewhere.setenv("PATH", str(tmp_path))
    assert process.find() == path
    path.unlink()
    with pytest.raises(FileNotFoundError, match="pip install"):
        process.find()


async def test_its_log_is_forwarded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = r"""
import sys
sys.stderr.write("warning\tconfig\tfirst\tline\nsecond line\ninfo\tmain\tthird\n")
"""
    with caplog.at_level(logging.DEBUG, logger="dragoman.envoy.process"):
        async with process.running({}, binary=program(tmp_path, text)) as envoy:
            assert await envoy.wait() == 0
    found = [(r.name.rpartition(".")[2], r.levelname, r.message) for r in caplog.records]
    assert found == [
        ("config", "WARNING", "first\tline"),
        ("config", "WARNING", "second line"),
        ("main", "INFO", "third"),
    ]
    assert envoy.last_words == "first\tline\nsecond line\nthird"


async def test_that_filters_are_unfinished_is_no_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Envoy says so of some that wait in every connection manager, whenever a listener changes."""
    text = r"""
import sys
sys.stderr.write("warning\tmisc\tmessage 'x.v3.X' is marked as work-in-progress.\n")
"""
    with caplog.at_level(logging.DEBUG, logger="dragoman.envoy.process"):
        async with process.running({}, binary=program(tmp_path, text)) as envoy:
            await envoy.wait()
    assert [record.levelname for record in caplog.records] == ["DEBUG"]


async def test_an_early_end_is_told_with_its_last_words(tmp_path: Path) -> None:
    text = "import sys; sys.stderr.write('critical\\tmain\\tno such cluster\\n'); sys.exit(3)"
    admin = Admin(path=str(tmp_path / "none.sock"))
    with pytest.raises(process.EnvoyFailedError, match="ended with 3"):
        async with process.running({}, binary=program(tmp_path, text), admin=admin) as envoy:
            await envoy.ready()


async def test_the_end_of_the_block_ends_it_and_its_folder(tmp_path: Path) -> None:
    text = """
import pathlib, sys, time
path = pathlib.Path(sys.argv[sys.argv.index("--config-path") + 1])
pathlib.Path(__file__).with_name("seen").write_text(f"{path} {path.parent.stat().st_mode & 0o777:o}")
sys.stderr.write("info\\tmain\\tup\\n"); sys.stderr.flush()
time.sleep(600)
"""

    async def fail() -> None:
        async with process.running(b"", binary=program(tmp_path, text)) as envoy:
            await net.until("up", lambda: envoy.last_words)
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await fail()
    path, mode = (tmp_path / "seen").read_text().split()
    assert mode == "700"
    assert path.endswith(".pb")
    assert not Path(path).parent.exists()


async def test_one_that_does_not_listen_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.stderr.write("info\\tmain\\tup\\n"); sys.stderr.flush()
time.sleep(600)
"""
    async with process.running({}, binary=program(tmp_path, text)) as envoy:
        await net.until("up", lambda: envoy.last_words)
        assert await envoy.stop(grace=0.05) == -9
        with pytest.raises(ProcessLookupError):
            os.kill(envoy.pid, 0)
    assert "is killed" in caplog.text


async def test_being_told_to_stop_is_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = """
import signal, sys, time
def end(*_):
    sys.stderr.write("warning\\tmain\\tcaught SIGTERM\\nerror\\tmain\\tbroken\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
sys.stderr.write("warning\\tmain\\tup\\n"); sys.stderr.flush()
time.sleep(600)
"""
    with caplog.at_level(logging.DEBUG, logger="dragoman.envoy.process"):
        async with process.running({}, binary=program(tmp_path, text)) as envoy:
            await net.until("up", lambda: envoy.last_words)
    assert [(r.levelname, r.message) for r in caplog.records] == [
        ("WARNING", "up"),
        ("INFO", "caught SIGTERM"),
        ("ERROR", "broken"),
    ]
