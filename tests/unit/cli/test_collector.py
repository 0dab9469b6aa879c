"""`main` switches the garbage collector off; commands that stay switch it on, lest they grow forever."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dragoman import garbage, runtime
from dragoman.runtime import lookups
from tests.unit.cli.conftest import Call


@pytest.fixture(autouse=True)
def off() -> Iterator[None]:
    """As `main` leaves it; on again for the other tests."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    ("command", "service"), [("run", runtime.ControlPlane), ("authz", lookups.Lookups)], ids=str
)
def test_commands_that_stay_collect_garbage(
    command: str, service: type, call: Call, hello: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    async def run(_: Any) -> None:
        with garbage.spared():
            seen.append(gc.isenabled())
        seen.append(gc.isenabled())

    monkeypatch.setattr(service, "run", run)
    assert call(command, hello).exit_code == 0
    assert seen == [False, True]
