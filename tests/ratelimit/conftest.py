"""Fixtures of the tests that need a Redis. One plain server serves a module; keys have random prefixes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.harness import redis


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[redis.Redis]:
    async with redis.Redis(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest_asyncio.fixture
async def own(tmp_path: Path) -> AsyncIterator[redis.Redis]:
    """A server of the test's own, to be killed."""
    async with redis.Redis(tmp_path) as running:
        yield running
