"""The settings of the service that looks credentials up, where it would be reached from elsewhere; and the
files of what Envoys are told."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from dragoman import config
from dragoman.graph.pipeline import Pipeline
from dragoman.runtime import authz, faults, trusts
from dragoman.telemetry.metrics import Metrics
from tests.harness.certs import Authority

AWAY = "10.0.0.7"


def settings(**said: Any) -> config.Authz:
    return config.Authz.model_validate(said)


def write(folder: Path, authority: Authority, *, key: Authority | None = None) -> config.Trust:
    """`key`: of another pair, which does not fit."""
    pair, other = authority.issue("envoy.example"), (key or authority).issue("envoy.example")
    files = {"ca": authority.pem, "certificate": pair.certificate, "key": other.key if key else pair.key}
    for name, text in files.items():
        (folder / f"{name}.draft").write_text(text)
        (folder / f"{name}.draft").rename(folder / name)
    return config.Trust(**{name: folder / name for name in files})


@pytest.mark.parametrize(
    "said",
    [
        {"address": AWAY},
        {"address": "0.0.0.0", "advertised": AWAY},
        {"address": "0.0.0.0", "advertised": "127.0.0.1"},
        {"advertised": AWAY},
        {"enabled": False, "advertised": AWAY, "port": 1},
        {"address": "fd00::1"},
        {"address": "edge.internal", "advertised": "127.0.0.1"},
    ],
    ids=str,
)
def test_no_plain_text_beyond_loopback_by_accident(said: dict[str, Any]) -> None:
    with pytest.raises(faults.StartError, match="plain text") as failure:
        authz.Authz(settings(**said), Pipeline(), Metrics()).start()
    assert failure.value.code == "DRG5001"
    assert "plaintext" in failure.value.help
    authz.Authz(settings(**said, plaintext=True), Pipeline(), Metrics()).start()


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"address": "127.0.0.2"},
        {"address": "::1"},
        {"address": "localhost", "advertised": "127.0.0.1"},
        {"enabled": False, "port": 1},
    ],
    ids=str,
)
def test_loopback_needs_no_tls(said: dict[str, Any]) -> None:
    authz.Authz(settings(**said), Pipeline(), Metrics()).start()


def test_the_service_alone_needs_it_too() -> None:
    with pytest.raises(faults.StartError, match="plain text") as failure:
        authz.service_settings(settings(address=AWAY))
    assert "--tls-certificate" in failure.value.help


def test_tls_and_trust_go_together(tmp_path: Path) -> None:
    trust = write(tmp_path, Authority())
    tls = {"certificate": trust.certificate, "key": trust.key}
    for said, lack in (
        ({"tls": tls}, "`trust`"),
        ({"tls": {**tls, "client_ca": trust.ca}, "trust": {"ca": trust.ca}}, "`trust.certificate`"),
        ({"tls": {**tls, "key": tmp_path / "gone"}, "trust": {"ca": trust.ca}}, "authz.tls: .*gone"),
        ({"trust": {"ca": tmp_path / "gone"}}, "authz.trust: .*gone"),
        ({"trust": {"ca": trust.key}}, "authz.trust: .*holds no PEM certificate"),
    ):
        with pytest.raises(faults.StartError, match=lack):
            authz.Authz(settings(**said), Pipeline(), Metrics()).start()
    authz.Authz(
        settings(tls={**tls, "client_ca": trust.ca}, trust=trust.model_dump()), Pipeline(), Metrics()
    ).start()


def test_files_that_are_new_count_and_those_that_do_not_fit_do_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = Authority("first"), Authority("second")
    given = write(tmp_path, first)
    found = trusts.Trust(given, AWAY, "authz.trust")
    assert (found.current.name, found.current.authority) == (AWAY, first.pem.encode())
    assert not found.refresh()
    before = found.current
    write(tmp_path, second, key=first)
    with caplog.at_level(logging.INFO):
        assert not found.refresh()
        assert found.current is before
        assert not found.refresh()
        (tmp_path / "key").unlink()
        assert not found.refresh()
        assert found.current is before
        assert [one.message.split(" ")[0] for one in caplog.records] == ["DRG4103", "DRG4103"]
    write(tmp_path, second)
    assert found.refresh()
    assert found.current.authority == second.pem.encode()
    assert "PRIVATE" not in caplog.text + repr(found.current)
