"""`dragoman run`: what it says when it is up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dragoman.cli import options, run


def plane(admin: str) -> Any:
    settings = SimpleNamespace(xds=SimpleNamespace(address="127.0.0.1"))
    return SimpleNamespace(settings=settings, xds_port=18000, admin=SimpleNamespace(url=admin))


@pytest.mark.parametrize(
    ("admin", "wanted"),
    [
        (options.DEFAULT_SERVER, "dragoman status   "),
        ("http://127.0.0.1:7", "dragoman status --server http://127.0.0.1:7   "),
    ],
)
def test_what_to_try_goes_to_this_control_plane(
    admin: str, wanted: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "_urls", lambda _: ["http://127.0.0.1:8080"])
    run._announce(plane(admin), with_envoy=True, with_demo=True)
    assert wanted in capsys.readouterr().err
