"""Fixtures of the tests that run the control plane as users do, with a real Envoy behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.harness.site import Mode, Site


@pytest_asyncio.fixture
async def site(request: pytest.FixtureRequest, tmp_path: Path, envoy_binary: Path) -> AsyncIterator[Site]:
    """A running site. Parametrize indirectly with `delta` or `sotw` to choose the protocol; delta else."""
    mode: Mode = getattr(request, "param", "delta")
    async with Site(tmp_path, mode=mode) as running:
        yield running
