"""`dragoman authz`: from options to settings."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

from dragoman.runtime import lookups
from tests.unit.cli.conftest import Call


def test_it_may_listen_on_every_address(call: Call, hello: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of them Envoys are told is said to the control plane, not here."""

    async def run(_: Any) -> None: ...

    monkeypatch.setattr(lookups.Lookups, "run", run)
    try:
        result = call("authz", hello, "--address", "0.0.0.0", "--port", "0", "--plaintext")
    finally:
        gc.enable()
    assert (result.exit_code, result.stderr) == (0, "")
