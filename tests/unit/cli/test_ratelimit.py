"""`dragoman ratelimit`: what it says when it cannot start."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Call

LIMITS = """
domain: shop
descriptors:
- key: user
  rate_limit: {unit: minute, requests_per_unit: 100}
"""


@pytest.fixture
def limits(tmp_path: Path) -> Path:
    (tmp_path / "limits.yaml").write_text(LIMITS)
    return tmp_path


@pytest.mark.parametrize(
    ("option", "what"),
    [
        ("--listen", "the rate-limit service"),
        ("--streams", "the server of streams"),
        ("--admin", "the admin server"),
    ],
)
def test_a_port_that_is_taken(call: Call, limits: Path, option: str, what: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        others = {"--listen": "127.0.0.1:0", "--admin": "off"} | {option: address}
        result = call("ratelimit", limits, *(word for pair in others.items() for word in pair))
    assert result.exit_code == 2
    assert f"error[DRG5003]: {what} cannot listen on {address}: the port is in use" in result.stderr
    assert f"choose another with `{option}`" in result.stderr


def test_a_socket_that_cannot_be(call: Call, limits: Path) -> None:
    result = call("ratelimit", limits, "--listen", f"unix:{limits}/nowhere/s", "--admin", "off")
    assert result.exit_code == 2
    assert f"cannot listen on unix:{limits}/nowhere/s: No such file or directory" in result.stderr


@pytest.mark.parametrize(
    ("store", "wanted"),
    [
        ("redis://", "the store's URL has no host: redis://HOST:PORT"),
        ("redis://h?password_file=/nowhere", "/nowhere: No such file or directory"),
        ("mongodb://h", "a store is `memory` or begins with one of "),
    ],
)
def test_stores_that_are_none(call: Call, limits: Path, store: str, wanted: str) -> None:
    result = call("ratelimit", limits, "--store", store)
    assert result.exit_code == 2
    assert f"error[DRG5001]: --store: {wanted}" in result.stderr
