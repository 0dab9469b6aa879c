"""The limit on regular expressions is Envoy's own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dragoman.translators.gateway import matching

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def bootstrap(pattern: str) -> dict[str, Any]:
    route = {"match": {"safe_regex": {"regex": pattern}}, "direct_response": {"status": 200}}
    manager = {
        "@type": HCM,
        "stat_prefix": "http",
        "route_config": {"virtual_hosts": [{"name": "any", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}],
    }
    listener = {
        "name": "http",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return {"static_resources": {"listeners": [listener]}}


@pytest.mark.envoy
@pytest.mark.parametrize(
    "pattern", ["a{96}", "a{97}", "/[a-z]{1,30}", "/[a-z]{1,60}", "(", "a(?=b)", "(?i)/shop.*"]
)
def test_envoy_agrees(pattern: str, envoy_binary: Path, tmp_path: Path) -> None:
    path = tmp_path / "bootstrap.json"
    path.write_text(json.dumps(bootstrap(pattern)))
    command = [str(envoy_binary), "--mode", "validate", "-c", str(path), "--log-level", "error"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (done.returncode == 0) is (matching.flaw_of(pattern) == ""), done.stderr.decode()
