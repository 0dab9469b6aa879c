"""`dragoman status`: the page, and what its exit code says."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import click
import pytest

from dragoman.cli import status
from tests.unit.cli.conftest import Call, edit

SYNCED = {"state": "SYNCED", "age": 12.4, "version": "1", "sent": 1, "acked": 1, "rejected": 0, "bytes": 10}
NACK = SYNCED | {"state": "NACK", "age": 3.0, "detail": "cannot bind", "names": ["127.0.0.1:80"]}


def page(**more: Any) -> dict[str, Any]:
    proxy = {"node": "edge-1", "group": "*", "connected": 70.0, "types": {"CDS": SYNCED, "LDS": NACK}}
    return {
        "version": "1",
        "ready": True,
        "reason": "",
        "uptime": 130.0,
        "proxies": [proxy],
        "objects": [],
        "diagnostics": [],
    } | more


def test_proxies_by_type() -> None:
    lines = click.unstyle(status.text(page())).splitlines()
    assert lines[0] == "dragoman 1, ready, up 2m"
    assert lines[2].split() == [
        "PROXY",
        "GROUP",
        "CDS",
        "EDS",
        "ECDS",
        "SRDS",
        "LDS",
        "RDS",
        "SDS",
        "CONNECTED",
    ]
    assert lines[3].split() == [
        "edge-1",
        "*",
        "SYNCED",
        "12s",
        "-",
        "-",
        "-",
        "NACK",
        "3.0s",
        "-",
        "-",
        "70s",
    ]
    assert lines[4] == "edge-1 refuses LDS: cannot bind"


def test_filter_chains_have_a_column_where_somebody_fetches_them() -> None:
    fetches = page()["proxies"][0] | {"types": {"LDS": SYNCED, "FCDS": SYNCED}}
    header, first, second = click.unstyle(
        status.text(page(proxies=[*page()["proxies"], fetches]))
    ).splitlines()[2:5]
    assert header.split()[2:6] == ["CDS", "EDS", "ECDS", "FCDS"]
    assert first.split()[5:7] == ["-", "-"]
    assert second.split()[5:7] == ["SYNCED", "12s"]


def test_what_a_proxy_waits_for() -> None:
    stale = SYNCED | {"state": "STALE", "detail": "it does not say which filter chains it has"}
    proxy = page()["proxies"][0] | {"types": {"LDS": stale}}
    lines = click.unstyle(status.text(page(proxies=[proxy]))).splitlines()
    assert lines[4] == "edge-1 waits for LDS: it does not say which filter chains it has"


def test_nobody_is_connected() -> None:
    assert "no proxy is connected" in status.text(page(proxies=[]))


def test_not_ready() -> None:
    assert "dragoman 1, starting, up" in click.unstyle(status.text(page(ready=False, reason="starting")))


def test_objects_of_files(call: Call, hello: Path) -> None:
    result = call("status", hello)
    assert result.exit_code == 0
    assert "HTTPRoute     hello/hello         Accepted, ResolvedRefs" in result.stdout
    assert "PROXY" not in result.stdout


def test_what_is_wrong_comes_first(call: Call, hello: Path) -> None:
    edit(hello / "routes.yaml", "name: hello-canary", "name: nobody")
    result = call("status", hello)
    assert "hello/hello         not ResolvedRefs (BackendNotFound), Accepted" in result.stdout


def test_errors_make_the_exit_code(call: Call, hello: Path) -> None:
    edit(hello / "routes.yaml", "backendRefs:", "backendRef:")
    result = call("status", "-o", "json", hello)
    assert result.exit_code == 1
    assert {item["code"] for item in json.loads(result.stdout)["diagnostics"]} == {"DRG1101"}


def test_nobody_answers(call: Call) -> None:
    result = call("status", "--server", "127.0.0.1:9")
    assert result.exit_code == 2
    assert (
        "error[DRG5004]: no control plane answers at http://127.0.0.1:9: Connection refused" in result.stderr
    )


def test_watching_is_of_a_control_plane(call: Call, hello: Path) -> None:
    for arguments in ((hello,), ("-o", "json")):
        result = call("status", "-w", *arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith("error: -w shows what a running control plane does")


@pytest.mark.parametrize("server", ["http://127.0.0.1:abc", "http://a b", "http://[::1", "127.0.0.1:9/x y"])
def test_no_address(call: Call, server: str) -> None:
    result = call("status", "--server", server)
    assert result.exit_code == 2
    assert " is no address: " in result.stderr


def test_what_answers_is_not_http(call: Call) -> None:
    """The port of xDS, which is the nearest mistake: HTTP/2 answers with a frame."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"\0\0\6\4\0\0\0\0\0\0\5\0\0\x40\0\n")

        thread = threading.Thread(target=answer)
        thread.start()
        result = call("status", "--server", f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()
    assert result.exit_code == 2
    assert "answers something else than HTTP" in result.stderr
    assert "the admin address is wanted" in result.stderr
