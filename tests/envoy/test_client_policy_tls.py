"""ClientPolicies through the real Envoy: versions of TLS, clients' certificates, HTTP/3."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.envoy import client_site
from tests.envoy.client_site import ClientAuthority, Clients, client_policy, config_map, trusting
from tests.harness import http3

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

CLIENTS = ClientAuthority()
OTHERS = ClientAuthority("others")
API = "spiffe://shop.example/ns/api"
CA = {"caCertificateRefs": [{"name": "clients"}]}
CRL = {"crlRefs": [{"name": "revoked"}]}
NOWHERE = {"caCertificateRefs": [{"name": "nowhere"}]}

POLICIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "modern": {"tls": {"minVersion": "TLSv1.3"}},
    "aged": {
        "tls": {"minVersion": "TLSv1.1", "maxVersion": "TLSv1.2", "ciphers": ["ECDHE-ECDSA-AES128-SHA"]}
    },
    "cipher": {"tls": {"maxVersion": "TLSv1.2", "ciphers": ["ECDHE-ECDSA-AES256-GCM-SHA384"]}},
    "curve": {"tls": {"curves": ["X25519"]}},
    "http1": {"tls": {"alpn": ["http/1.1"]}},
    "mutual": {
        "clientValidation": {**CA, "subjectAltNames": [{"type": "URI", "prefix": "spiffe://shop.example/"}]},
        "forwardedCertificate": {"mode": "Replace", "details": ["URI", "Subject", "DNS"]},
    },
    "optional": {"clientValidation": {**CA, "mode": "Optional"}},
    "anybody": {"clientValidation": {**CA, "mode": "AllowInvalid"}},
    "listed": {"clientValidation": {**CA, **CRL}},
    "broken": {"clientValidation": NOWHERE},
    "unlisted": {"clientValidation": {**CA, "crlRefs": [{"name": "nowhere"}]}},
    "quick": {"http3": {"enabled": True, "maxAge": "1h"}},
    "mapped": {"http3": {"enabled": True, "advertisedPort": 443}, "headers": {"maxCount": 20}},
    "wary": {"http3": {"enabled": True}, "clientValidation": CA},
}
BROKEN = {"broken", "unlisted", "wary"}


@dataclass(frozen=True)
class Shown:
    """Clients' certificates and keys."""

    api: tuple[Path, Path]
    foreign: tuple[Path, Path]
    nameless: tuple[Path, Path]
    revoked: tuple[Path, Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clients")


@pytest.fixture(scope="module")
def serial() -> list[int]:
    return []


@pytest.fixture(scope="module")
def shown(folder: Path, serial: list[int]) -> Shown:
    *revoked, number = CLIENTS.issue(folder, API)
    serial.append(number)
    return Shown(
        CLIENTS.issue(folder, API, "api.example")[:2],
        OTHERS.issue(folder, API)[:2],
        CLIENTS.issue(folder, "spiffe://elsewhere.example/x")[:2],
        (revoked[0], revoked[1]),
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(envoy_binary: Path, shown: Shown, serial: list[int]) -> AsyncIterator[Clients]:
    policies = [client_policy(spec, section=name) for name, spec in POLICIES.items() if spec]
    more = [
        config_map("clients", ca_crt=CLIENTS.pem),
        config_map("revoked", ca_crl=CLIENTS.revoking(serial[0])),
    ]
    async with client_site.running(envoy_binary, dict.fromkeys(POLICIES, "HTTPS"), policies, more) as made:
        assert {one.ref.name for one in made.pipeline.diagnostics() if one.ref} == BROKEN
        yield made


async def version(site: Clients, listener: str, context: ssl.SSLContext) -> str:
    """The version spoken and the cipher; "" where there is no handshake."""
    try:
        connection = await site.connect(listener, context)
    except (ssl.SSLError, OSError):
        return ""
    found: ssl.SSLObject = connection.writer.get_extra_info("ssl_object")
    return found.version() or ""


async def answered(site: Clients, listener: str, shows: tuple[Path, Path] | None = None) -> int:
    """The status of an answer, 0 where the handshake or the connection fails. (With TLS 1.3 a client hears of
    a refusal only when it reads.)"""
    try:
        return (await site.ask(listener, tls=trusting(shows=shows))).status
    except (ssl.SSLError, OSError, EOFError):
        return 0


async def test_versions(site: Clients) -> None:
    old = trusting(minimum=ssl.TLSVersion.TLSv1_1, maximum=ssl.TLSVersion.TLSv1_1, ciphers="ALL:@SECLEVEL=0")
    usual = trusting(maximum=ssl.TLSVersion.TLSv1_2)
    assert await version(site, "plain", usual) == "TLSv1.2"
    assert await version(site, "plain", trusting()) == "TLSv1.3"
    assert await version(site, "plain", old) == ""
    assert await version(site, "modern", usual) == ""
    assert await version(site, "modern", trusting()) == "TLSv1.3"
    assert await version(site, "aged", old) == "TLSv1.1"
    assert await version(site, "aged", trusting(ciphers="ALL:@SECLEVEL=0")) == "TLSv1.2"


async def test_ciphers(site: Clients) -> None:
    small = trusting(ciphers="ECDHE-ECDSA-AES128-GCM-SHA256", maximum=ssl.TLSVersion.TLSv1_2)
    large = trusting(ciphers="ECDHE-ECDSA-AES256-GCM-SHA384", maximum=ssl.TLSVersion.TLSv1_2)
    assert await version(site, "plain", small) == "TLSv1.2"
    assert await version(site, "cipher", small) == ""
    assert await version(site, "cipher", large) == "TLSv1.2"


async def test_curves(site: Clients) -> None:
    narrow = trusting()
    narrow.set_ecdh_curve("prime256v1")  # what this client can do, and nothing else
    assert await version(site, "plain", narrow) == "TLSv1.3"
    assert await version(site, "curve", narrow) == ""
    assert await version(site, "curve", trusting()) == "TLSv1.3"


async def test_alpn(site: Clients) -> None:
    def spoken(connection: client_site.RawClient) -> str | None:
        found: ssl.SSLObject = connection.writer.get_extra_info("ssl_object")
        return found.selected_alpn_protocol()

    offers = trusting(alpn=("h2", "http/1.1"))
    assert spoken(await site.connect("plain", offers)) == "h2"
    assert spoken(await site.connect("http1", offers)) == "http/1.1"


async def test_mutual_tls(site: Clients, shown: Shown) -> None:
    assert await answered(site, "mutual", shown.api) == 200
    assert await answered(site, "mutual", shown.foreign) == 0
    assert await answered(site, "mutual", shown.nameless) == 0
    assert await answered(site, "mutual") == 0


async def test_optional_certificates(site: Clients, shown: Shown) -> None:
    assert await answered(site, "optional") == 200
    assert await answered(site, "optional", shown.api) == 200
    assert await answered(site, "optional", shown.foreign) == 0
    assert await answered(site, "anybody", shown.foreign) == 200


async def test_revoked_certificates(site: Clients, shown: Shown) -> None:
    assert await answered(site, "listed", shown.api) == 200
    assert await answered(site, "listed", shown.revoked) == 0
    assert await answered(site, "mutual", shown.revoked) == 200


async def test_who_cannot_be_checked_is_not_let_in(site: Clients, shown: Shown) -> None:
    assert await answered(site, "broken", shown.api) == 0
    assert await answered(site, "broken") == 0
    assert await answered(site, "unlisted", shown.api) == 0


async def test_backends_hear_of_the_certificate(site: Clients, shown: Shown) -> None:
    spoofed = "X-Forwarded-Client-Cert: By=me;Subject=admin"
    seen = await site.seen("mutual", spoofed, tls=trusting(shows=shown.api))
    (told,) = seen["headers"]["X-Forwarded-Client-Cert"]
    assert f"URI={API}" in told
    assert 'Subject="CN=client"' in told
    assert "DNS=api.example" in told
    assert "Hash=" in told
    assert "admin" not in told
    seen = await site.seen("plain", spoofed, tls=trusting())
    assert "X-Forwarded-Client-Cert" not in seen["headers"]


async def test_clients_are_told_of_http3(site: Clients) -> None:
    async def told(listener: str, **more: Any) -> str | None:
        return (await site.ask(listener, tls=trusting(**more))).headers.get("alt-svc")

    assert await told("plain") is None
    assert await told("quick") == f'h3=":{site.ports["quick"]}"; ma=3600'
    assert await told("mapped") == 'h3=":443"; ma=86400'


async def test_http3(site: Clients) -> None:
    status, headers, body = await http3.get(site.ports["quick"], "quick.example")
    assert status == 200
    assert b'"host":"quick.example"' in body
    assert headers["alt-svc"]
    with pytest.raises(ConnectionError):
        await http3.get(site.ports["plain"], "plain.example")


async def test_no_http3_where_certificates_are_wanted(site: Clients, shown: Shown) -> None:
    reply = await site.ask("wary", tls=trusting(shows=shown.api))
    assert (reply.status, "alt-svc" in reply.headers) == (200, False)
    with pytest.raises(ConnectionError):
        await http3.get(site.ports["wary"], "wary.example")
    (found,) = [one for one in site.pipeline.diagnostics() if one.code == "DRG1652"]
    assert "cannot ask clients for certificates" in found.message
