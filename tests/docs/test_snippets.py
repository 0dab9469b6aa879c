"""Every block of YAML in the guides is taken without a finding: objects in a world that has what they name,
parts of a policy as that policy, settings, files of limits and bootstraps by who reads them.

Pages of diagnostics have tests of their own (`tests/unit/gateway/test_pages.py`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from dragoman import config
from dragoman.cli import workspace
from dragoman.diagnostics import Severity, text
from dragoman.envoy import bootstrap
from dragoman.ratelimit import goconfig
from tests.envoy import client_site
from tests.harness import certs

ROOT = Path(__file__).parents[2]
DOCUMENTS: Final = sorted((*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md")))

PARTS: Final = {"spec": "ClientPolicy", "maintenance": "HTTPPolicy", "limits": "RateLimitPolicy"}
"""Of a part of a policy: its first key, and the kind."""
RULES: Final = {
    "shop": "admin",
    "checkout": "first",
    "account": "first",
    "catalogue": "products",
    "cart": "first",
}
SERVICES: Final = ("shop", "shop-gold", "shop-next", "cart-v1", "cart-v2", "authz")
ELSEWHERE: Final = {"DRG1864"}
"""`routing` asks for claims: tokens are read by a policy of another block."""

Body = dict[str, Any]


def blocks() -> list[tuple[str, str]]:
    """(`docs/auth.md:8`, the block) for each block of YAML."""
    found: list[tuple[str, str]] = []
    for document in DOCUMENTS:
        page = document.read_text()
        for block in re.finditer(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
            line = page.count("\n", 0, block.start(1)) + 1
            found.append((f"{document.relative_to(ROOT)}:{line}", block[1]))
    return found


def core(kind: str, name: str, **more: Any) -> Body:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "shop"}, **more}


def endpoints(service: str, ports: list[Body]) -> Body:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": service,
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": [{"addresses": ["127.0.0.1"]}],
    }


def world() -> list[Body]:
    """What the blocks refer to."""
    clients = client_site.ClientAuthority()
    pair = certs.Authority().issue("shop.example")
    certificate = {"tls.crt": pair.certificate, "tls.key": pair.key}
    listener = {"name": "https", "protocol": "HTTPS", "port": 8443}
    gateway = core(
        "Gateway",
        "edge",
        spec={
            "gatewayClassName": "dragoman",
            "listeners": [listener | {"tls": {"certificateRefs": [{"name": "server"}]}}],
        },
    )
    routes = [
        core(
            "HTTPRoute",
            name,
            spec={
                "parentRefs": [{"name": "edge"}],
                "hostnames": [f"{name}.example"],
                "rules": [{"name": rule, "backendRefs": [{"name": "shop", "port": 80}]}],
            },
        )
        for name, rule in RULES.items()
    ]
    for one in (gateway, *routes):
        one["apiVersion"] = "gateway.networking.k8s.io/v1"
    ports = [{"name": f"p{port}", "port": port} for port in (80, 8080, 9000)]
    return [
        gateway,
        *routes,
        *(core("Service", name, spec={"ports": ports}) for name in SERVICES),
        *(endpoints(name, ports) for name in SERVICES),
        core("Secret", "server", type="kubernetes.io/tls", stringData=certificate),
        core("Secret", "api-keys", stringData={"one": "9e8d7c6b5a493827"}),
        core("ConfigMap", "clients", data={"ca.crt": clients.pem}),
        core("ConfigMap", "revoked", data={"ca.crl": clients.revoking()}),
    ]


def check(block: str, folder: Path) -> None:
    """Written down with the world about it, it has no error."""
    own = list(yaml.safe_load_all(block))
    names = {(one["kind"], one["metadata"]["name"]) for one in own}
    others = [one for one in world() if (one["kind"], one["metadata"]["name"]) not in names]
    (folder / "world.yaml").write_text(yaml.safe_dump_all(others))
    (folder / "block.yaml").write_text(block)
    loaded = workspace.load([str(folder)], config.Settings())
    wrong = [
        one for one in loaded.findings if one.severity is not Severity.INFO and one.code not in ELSEWHERE
    ]
    assert not wrong, text.report(wrong, loaded.pipeline.locate)
    assert {(ref.kind, ref.name) for ref in loaded.documents} >= names


@pytest.mark.parametrize(("where", "block"), blocks(), ids=[where for where, _ in blocks()])
def test_block(where: str, block: str, tmp_path: Path) -> None:
    first = re.match(r"\w+", block)
    assert first is not None, where
    if first[0] == "apiVersion":
        check(block, tmp_path)
    elif first[0] in PARTS:
        spec = yaml.safe_load(block)
        spec = {"targetRefs": [{"kind": "Gateway", "name": "edge"}]} | spec.get("spec", spec)
        policy = core(PARTS[first[0]], "part", spec=spec) | {"apiVersion": "dragoman.dev/v1alpha1"}
        check(yaml.safe_dump(policy), tmp_path)
    elif first[0] == "domain":
        assert goconfig.read("block.yaml", block).diagnostics == ()
    elif first[0] == "bootstrap_extensions":
        assert yaml.safe_load(block) == bootstrap.caching()
    else:
        (tmp_path / "settings.yaml").write_text(block)
        config.load(tmp_path / "settings.yaml", environment={})
