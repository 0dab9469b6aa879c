"""What the real Envoy refuses, and what it takes: `validate`, the bootstrap, and dumps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dragoman import proto, resource
from dragoman.envoy import bootstrap, clusters, dump, listeners, process, secrets, validate
from dragoman.envoy.admin import Admin
from dragoman.ir import model as ir
from tests.envoy import static_site
from tests.harness import net
from tests.harness.certs import Authority
from tests.unit.envoy.build import PLAIN, ROOT, cluster, forward, route, secret

pytestmark = pytest.mark.envoy

TLS_BIND = ir.Bind("127.0.0.1", 8443)
TLS_SCOPE = ir.Scope(TLS_BIND, "*")


def snapshot(*more: resource.Resource, hosts: static_site.Hosts | None = None) -> list[resource.Resource]:
    """Something sound, and `more`."""
    listener = ir.Listener(PLAIN.bind, (ir.FilterChain("", None, PLAIN),))
    table = static_site.table(PLAIN, {"ok.example": [route(forward())], **(hosts or {})})
    return [table, listeners.encode(listener), *static_site.service("v1", []), *more]


def tls_listener() -> list[resource.Resource]:
    """A listener that needs the secret `a`."""
    chain = ir.FilterChain("", ir.TlsTermination((secret("a"),)), TLS_SCOPE)
    return [listeners.encode(ir.Listener(TLS_BIND, (chain,))), static_site.table(TLS_SCOPE, {})]


def good_secret() -> resource.Resource:
    pair = Authority().issue("a.example")
    return secrets.encode(ir.Secret(secret("a"), pair.certificate.encode(), pair.key.encode()))


def bad_secret() -> resource.Resource:
    return secrets.encode(ir.Secret(secret("a"), b"garbage", b"garbage"))


def bad_cluster() -> resource.Resource:
    place = ir.Endpoint("10.0.0.300", 80)
    return clusters.encode(ir.Cluster(cluster("bad"), ir.Discovery.STATIC, endpoints=(place,)))


def test_envoy_takes_what_is_sound(envoy_binary: Path) -> None:
    assert validate.check(snapshot(*tls_listener(), good_secret()), envoy_binary) == []


def test_everything_that_is_refused_is_named(envoy_binary: Path) -> None:
    names = [f"HTTPRoute/shop/r{n}/#0/0" for n in range(3)]
    paths: list[ir.PathMatch] = [ir.RegexPath("(a"), ROOT, ir.RegexPath("b)")]
    items = [route(forward(), path, name=name) for path, name in zip(paths, names, strict=True)]
    wrong = snapshot(bad_cluster(), bad_secret(), *tls_listener(), hosts={"bad.example": items})
    found = validate.check(wrong, envoy_binary)
    assert {(each.type_url, each.name, each.route) for each in found} == {
        (resource.SECRET, "Secret/shop/a/tls", ""),
        (resource.CLUSTER, "Service/shop/bad/8080", ""),
        (resource.ROUTE, "127.0.0.1:8080", names[0]),
        (resource.ROUTE, "127.0.0.1:8080", names[2]),
    }
    assert any("10.0.0.300" in each.detail for each in found)


def test_refusals_become_diagnostics_without_secrets(envoy_binary: Path) -> None:
    found = validate.snapshot(snapshot(bad_cluster(), bad_secret(), *tls_listener()), envoy_binary)
    assert [(each.code, str(each.ref)) for each in found] == [
        ("DRG4001", "Secret shop/a"),
        ("DRG4001", "Service shop/bad"),
    ]
    assert "garbage" not in " ".join(each.message for each in found)


def test_what_is_refused_only_together_has_no_name(envoy_binary: Path) -> None:
    twice = listeners.encode(ir.Listener(PLAIN.bind, (ir.FilterChain("", None, PLAIN),) * 2))
    sound = snapshot()
    (found,) = validate.check([sound[0], twice, *sound[2:]], envoy_binary)
    assert (found.type_url, found.name) == ("", "")
    assert "filter chain" in found.detail


async def test_envoy_waits_for_its_control_plane(envoy_binary: Path, tmp_path: Path) -> None:
    """Alive, but not ready; and nothing in the bootstrap is deprecated."""
    admin = Admin(path=str(tmp_path / "admin.sock"))
    data = bootstrap.bootstrap(node_id="n", xds_port=net.free_port(), admin=admin, heap=2**30)
    async with process.running(data, binary=envoy_binary, admin=admin, concurrency=1) as envoy:
        await net.until("the admin interface", Path(admin.path).exists)
        info = await net.until("the server's state", admin.server_info)
        assert info["state"] in ("INITIALIZING", "PRE_INITIALIZING")
        assert not await admin.ready()
        assert "eprecated" not in envoy.last_words


def test_dumps_are_envoys_own_json() -> None:
    for each in snapshot(bad_cluster(), *tls_listener()):
        cls = proto.message(each.type_url)
        read = proto.from_dict(cls, dump.to_dict(each))
        assert proto.to_dict(read) == without_users(proto.to_dict(cls.FromString(each.payload)))


def without_users(value: Any) -> Any:
    """As a dump shows it: the users of `basic_auth`, which every connection manager has, are redacted."""
    if isinstance(value, list):
        return [without_users(each) for each in value]
    if not isinstance(value, dict):
        return value
    hidden = {"inline_string": "[redacted]"}
    return {key: hidden if key == "users" else without_users(each) for key, each in value.items()}
