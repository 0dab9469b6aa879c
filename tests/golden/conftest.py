"""`pytest tests/golden --golden-update` writes what is there instead of comparing with it."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden-update", action="store_true", help="write the golden files anew")


@pytest.fixture(scope="session")
def golden_update(pytestconfig: pytest.Config) -> bool:
    """Whether files are written. The option is unknown when pytest was started for other folders too."""
    return bool(pytestconfig.getoption("--golden-update", default=False))
