"""A folder with resources, and a way to call the command line on it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dragoman.cli import main

HELLO = Path(__file__).parents[3] / "examples" / "01-hello"

Call = Callable[..., Result]


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    """A copy of the first example."""
    return Path(shutil.copytree(HELLO, tmp_path / "hello"))


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls `dragoman` with arguments; nothing of the caller's environment gets in."""
    for name in ("DRAGOMAN_SERVER", "DRAGOMAN_SETTINGS"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: object, input: str | None = None) -> Result:
        result = CliRunner().invoke(main.cli, [str(a) for a in arguments], input=input)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


def edit(file: Path, old: str, new: str) -> None:
    """Replaces what must be there."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
