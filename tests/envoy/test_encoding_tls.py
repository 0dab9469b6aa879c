"""What the real Envoy does with the encoders' bytes: TLS on both sides, and kinds of clusters."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from dragoman import resource
from dragoman.envoy import clusters, listeners, secrets
from dragoman.ir import model as ir
from tests.envoy import static_site
from tests.envoy.static_site import StaticSite
from tests.harness import net
from tests.harness.backend import Backend
from tests.harness.certs import Authority, Pair
from tests.harness.echo import Echo, Identity
from tests.unit.envoy.build import cluster, forward, route, secret

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

CA = Authority()
OTHER = Authority("other")
BACKEND = "be.example"
GIVEN = secret("ca", "ca")

UPSTREAM = {
    "given": (ir.UpstreamTls(BACKEND, GIVEN, False, (BACKEND,)), 200),
    "server-name": (ir.UpstreamTls(BACKEND, GIVEN, False), 200),
    "endpoint-name": (ir.UpstreamTls("", GIVEN, False), 200),
    "client-certificate": (ir.UpstreamTls(BACKEND, GIVEN, False, certificate=secret("a")), 200),
    "insecure": (ir.UpstreamTls("x.example", insecure=True), 200),
    "other-name": (ir.UpstreamTls(BACKEND, GIVEN, False, ("other.example",)), 503),
    "other-authority": (ir.UpstreamTls(BACKEND, secret("other", "ca"), False), 503),
    "system": (ir.UpstreamTls(BACKEND), 503),
}


def rsa_pair(name: str) -> Pair:
    """A self-signed certificate with an RSA key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(made.public_bytes(serialization.Encoding.PEM).decode(), private.decode(), made.serial_number)


PAIRS = {
    "a": CA.issue("a.shop.example"),
    "a-rsa": rsa_pair("a.shop.example"),
    "b": CA.issue("b.shop.example"),
    "wild": CA.issue("*.shop.example"),
    "default": CA.issue("default.example"),
}
CHAINS = {"a.shop.example": ("a", "a-rsa"), "*.shop.example": ("wild", "b"), "": ("default", "wild")}


def secret_resources() -> list[resource.Resource]:
    made = [
        ir.Secret(secret(name), pair.certificate.encode(), pair.key.encode()) for name, pair in PAIRS.items()
    ]
    made += [ir.Secret(GIVEN, ca=CA.pem.encode()), ir.Secret(secret("other", "ca"), ca=OTHER.pem.encode())]
    return [secrets.encode(each) for each in made]


def tls_listener(port: int) -> list[resource.Resource]:
    """One listener with all of CHAINS, and their tables."""
    bind = ir.Bind("127.0.0.1", port)
    chains = tuple(
        ir.FilterChain(name, ir.TlsTermination(tuple(map(secret, pairs))), ir.Scope(bind, name or "*"))
        for name, pairs in CHAINS.items()
    )
    tables = [
        static_site.table(
            chain.scope, {chain.scope.hostname: [route(forward("v1"))]}, ["misdirected.example"]
        )
        for chain in chains
    ]
    return [listeners.encode(ir.Listener(bind, chains)), *tables]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def site(envoy_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StaticSite]:
    folder = tmp_path_factory.mktemp("certificates")
    async with AsyncExitStack() as stack:
        context = CA.issue(BACKEND).server_context(folder)
        secure = await stack.enter_async_context(Backend(Echo(Identity("tls")), tls=context))
        h2c = await stack.enter_async_context(Backend(Echo(Identity("h2c")), protocol="h2c"))
        plain = await stack.enter_async_context(Backend(Echo(Identity("plain"))))
        here = [ir.Endpoint("127.0.0.1", secure.port, hostname=BACKEND)]
        more = [
            *secret_resources(),
            *static_site.service("h2c", [ir.Endpoint("127.0.0.1", h2c.port)], protocol=ir.AppProtocol.HTTP2),
        ]
        for name, (settings, _) in UPSTREAM.items():
            more += static_site.service(name, here, tls=settings)
        more += static_site.service("auto", here, tls=UPSTREAM["given"][0], protocol=ir.AppProtocol.AUTO)
        address, host = ir.Endpoint("127.0.0.1", plain.port), ir.Endpoint("localhost", plain.port)
        more.append(clusters.encode(ir.Cluster(cluster("static"), ir.Discovery.STATIC, endpoints=(address,))))
        more.append(clusters.encode(ir.Cluster(cluster("dns"), ir.Discovery.DNS, endpoints=(host,))))
        tls_port = net.free_port()
        more += tls_listener(tls_port)
        services = [*UPSTREAM, "auto", "h2c", "static", "dns"]
        hosts = {f"{name}.example": [route(forward(name))] for name in services}
        running = await stack.enter_async_context(
            static_site.running(envoy_binary, hosts, more, backends=["v1"])
        )
        running.tls_port = tls_port
        yield running


@pytest.mark.parametrize("name", UPSTREAM)
async def test_tls_to_endpoints(site: StaticSite, name: str) -> None:
    assert (await site.ask(host=f"{name}.example")).status == UPSTREAM[name][1]


@pytest.mark.parametrize(
    ("name", "pod", "proto"),
    [
        ("h2c", "h2c", "HTTP/2.0"),
        ("auto", "tls", "HTTP/1.1"),
        ("static", "plain", "HTTP/1.1"),
        ("dns", "plain", "HTTP/1.1"),
    ],
)
async def test_kinds_of_clusters(site: StaticSite, name: str, pod: str, proto: str) -> None:
    seen = await site.seen(host=f"{name}.example")
    assert (seen["pod"], seen["proto"]) == (pod, proto)


@pytest.mark.parametrize(
    ("name", "ciphers", "pair"),
    [
        ("a.shop.example", "", "a"),
        ("a.shop.example", "ECDHE-RSA-AES128-GCM-SHA256", "a-rsa"),
        ("a.shop.example", "ECDHE-ECDSA-AES128-GCM-SHA256", "a"),
        ("b.shop.example", "", "b"),
        ("c.shop.example", "", "wild"),
        ("x.c.shop.example", "", "wild"),
        ("elsewhere.example", "", "default"),
        ("127.0.0.1", "", "default"),  # no server name
    ],
)
async def test_certificates_by_server_name_and_key(
    site: StaticSite, name: str, ciphers: str, pair: str
) -> None:
    version = ssl.TLSVersion.TLSv1_2 if ciphers else None
    reader, writer = await static_site.tls(site.tls_port, name, version=version, ciphers=ciphers)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    assert x509.load_der_x509_certificate(der).serial_number == PAIRS[pair].serial
    reply = await static_site.exchange(reader, writer, "/", name)
    assert reply.status == (200 if name.endswith("shop.example") or pair == "default" else 404)


async def test_other_hosts_of_a_connection_are_misdirected(site: StaticSite) -> None:
    reader, writer = await static_site.tls(site.tls_port, "a.shop.example")
    reply = await static_site.exchange(reader, writer, "/", "misdirected.example")
    assert reply.status == 421


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
async def test_old_versions_and_plain_text_are_refused(site: StaticSite) -> None:
    with pytest.raises(OSError):
        await static_site.tls(site.tls_port, "a.shop.example", version=ssl.TLSVersion.TLSv1_1)
    plain = StaticSite(site.tls_port, site.admin)
    with pytest.raises((OSError, EOFError)):
        await plain.ask()
