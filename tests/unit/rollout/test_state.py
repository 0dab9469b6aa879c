"""The state file: what is written is read back, and trouble with it never stops anything."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path

import pytest

from dragoman import config
from dragoman.ir.rollouts import Phase, Progress, Verdict
from dragoman.refs import Ref
from dragoman.rollout import state

REF = Ref("dragoman.dev", "Rollout", "shop", "cart")
PROGRESS = Progress(
    "d",
    Phase.HELD,
    50,
    1,
    1000.25,
    1010.5,
    "CheckFailed",
    "why",
    True,
    "c",
    (Verdict(3.0, False, "v", 2.0, 1),),
)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rollouts.json"
    assert state.File(path).load() == {}
    assert state.File(path).save({REF: PROGRESS})
    assert state.File(path).load() == {REF: PROGRESS}
    assert [each.name for each in path.parent.iterdir()] == ["rollouts.json"], "no draft is left"


def _file(**other: object) -> str:
    """A file with one rollout, of which something is other than was written."""
    one = {"ref": list(REF), **asdict(PROGRESS), "phase": "Held"} | other
    return json.dumps({"version": 1, "rollouts": [one]})


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '{"version": 2, "rollouts": []}',
        '{"version": 1, "rollouts": [{"ref": 1}]}',
        '{"version": 1, "rollouts": ["cart"]}',
        _file(ref=["dragoman.dev", "Rollout", "shop", {}]),
        _file(ref=["dragoman.dev", "Rollout", "shop"]),
        _file(phase="Lost"),
        _file(weight="half"),
        _file(weight=101),
        _file(weight=-1),
        _file(step=None),
        _file(since="noon"),
        _file(verdicts=["good"]),
        _file(verdicts=[{"due": []}]),
    ],
)
def test_an_unreadable_file_is_set_aside(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rollouts.json"
    path.write_text(content)
    assert state.File(path).load() == {}
    assert "DRG5101" in caplog.text
    assert (tmp_path / "rollouts.unreadable").read_text() == content
    assert state.File(path).save({})


def test_a_folder_that_cannot_be_written_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    (tmp_path / "file").write_text("")
    file = state.File(tmp_path / "file" / "rollouts.json")
    assert not file.save({})
    assert not file.save({})
    assert caplog.text.count("DRG5101") == 1


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def path(**settings: object) -> Path | None:
        return state.path(config.Settings.model_validate(settings))

    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    assert path() == Path("/home/me/.local/state/dragoman/rollouts-18000.json")
    monkeypatch.setenv("XDG_STATE_HOME", "/xdg")
    assert path() == Path("/xdg/dragoman/rollouts-18000.json")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/dragoman:/other")
    assert path() == Path("/var/lib/dragoman/rollouts-18000.json")
    assert path(xds={"port": 0}) is None
    assert path(xds={"port": 0}, state={"directory": str(tmp_path)}) == tmp_path / "rollouts-0.json"
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.delenv("XDG_STATE_HOME")
    assert path() is None
