"""TLS and mutual TLS on the xDS port: rotation, who may connect, who gets what."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dragoman import config, resource
from dragoman.resource import CLUSTER, SECRET
from dragoman.xds.wire import Form
from tests.harness.certs import Authority, Pair
from tests.wire import plane
from tests.wire.plane import connect

SPIFFE = "spiffe://example.org/ns/shop/sa/edge"


def workload(authority: Authority, uri: str) -> Pair:
    """A client certificate with a URI SAN."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "workload")]))
        .issuer_name(authority._name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
        .sign(authority._key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        private.decode(),
        certificate.serial_number,
    )


class Files:
    """The files of the settings, and the authority behind them."""

    def __init__(self, folder: Path, *, client_ca: bool = False) -> None:
        self.authority = Authority()
        self.tls = config.XdsTls(
            certificate=folder / "tls.crt",
            key=folder / "tls.key",
            client_ca=folder / "ca.crt" if client_ca else None,
        )
        (folder / "ca.crt").write_text(self.authority.pem)
        self.pair = self.rotate()

    def rotate(self) -> Pair:
        pair = self.authority.issue("localhost", "127.0.0.1")
        self.tls.certificate.write_text(pair.certificate)
        self.tls.key.write_text(pair.key)
        return pair

    def credentials(self, client: Pair | None = None) -> grpc.ChannelCredentials:
        root = self.authority.pem.encode()
        if client is None:
            return grpc.ssl_channel_credentials(root)
        return grpc.ssl_channel_credentials(root, client.key.encode(), client.certificate.encode())


async def served(port: int) -> int:
    """The serial number of the certificate the port shows."""
    pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


@pytest.fixture
def resources() -> list[resource.Resource]:
    return [resource.make(CLUSTER, "one", b"x"), resource.make(SECRET, "key", b"k", sensitive=True)]


async def test_tls_and_a_rotated_certificate(tmp_path: Path, resources: list[resource.Resource]) -> None:
    files = Files(tmp_path)
    async with plane.plane(*resources, tls=files.tls) as running:
        async with connect(running.port, credentials=files.credentials()) as stream:
            assert len((await stream.ask(CLUSTER)).resources) == 1
            assert await served(running.port) == files.pair.serial
            second = files.rotate()
            assert await served(running.port) == second.serial
            assert (await stream.ask(SECRET, "key")).type_url == SECRET  # the old connection lives on
        async with connect(running.port, credentials=files.credentials()) as stream:
            assert len((await stream.ask(CLUSTER)).resources) == 1


async def test_a_rotation_that_is_half_done_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = Files(tmp_path)
    async with plane.plane(tls=files.tls) as running:
        other = files.authority.issue("localhost")
        files.tls.certificate.write_text(other.certificate)  # the key does not belong to it
        assert await served(running.port) == files.pair.serial
        assert "DRG4103" in caplog.text
        files.tls.key.write_text(other.key)
        assert await served(running.port) == other.serial


async def refused(stream: plane.Stream) -> None:
    """No stream comes about over such a connection."""
    with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError)):
        await stream.ask(CLUSTER)


async def test_a_bad_certificate_at_start_is_an_error(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.tls.key.write_text("nonsense")
    with pytest.raises(OSError):
        async with plane.plane(tls=files.tls):
            pass


async def test_plain_text_is_refused_on_a_tls_port(tmp_path: Path) -> None:
    async with plane.plane(tls=Files(tmp_path).tls) as running, connect(running.port) as stream:
        await refused(stream)
        assert running.ledger.proxies() == []


async def test_mutual_tls_needs_a_certificate_of_the_authority(tmp_path: Path) -> None:
    files = Files(tmp_path, client_ca=True)
    async with plane.plane(tls=files.tls) as running:
        stranger = workload(Authority("another"), SPIFFE)
        for client in (None, stranger):
            async with connect(running.port, credentials=files.credentials(client)) as stream:
                await refused(stream)
        async with connect(
            running.port, credentials=files.credentials(workload(files.authority, SPIFFE))
        ) as stream:
            await stream.ask(CLUSTER)
            [proxy] = running.ledger.proxies()
            assert proxy.peer.sans == (SPIFFE,)


@pytest.mark.parametrize("form", list(Form))
async def test_rule_92_the_certificate_decides_group_and_secrets(
    tmp_path: Path, resources: list[resource.Resource], form: Form
) -> None:
    files = Files(tmp_path, client_ca=True)
    rules = (
        config.NodeRule(san=f"{SPIFFE}-public", gateways=("shop/*",), secrets=False),
        config.NodeRule(san=SPIFFE, gateways=("shop/*",)),
    )
    async with plane.plane(*resources, tls=files.tls, nodes=rules) as running:
        edge = files.credentials(workload(files.authority, SPIFFE))
        public = files.credentials(workload(files.authority, f"{SPIFFE}-public"))
        nobody = files.credentials(workload(files.authority, "spiffe://example.org/ns/other/sa/x"))
        async with connect(running.port, form, credentials=edge) as stream:
            assert len((await stream.ask(CLUSTER)).resources) == 1
            assert len((await stream.ask(SECRET, "key")).resources) == 1
        async with connect(running.port, form, credentials=public) as stream:
            assert len((await stream.ask(CLUSTER)).resources) == 1
            if form is Form.DELTA:
                response = await stream.ask(SECRET, "key")
                assert list(response.removed_resources) == ["key"]
                assert not response.resources
            else:
                await stream.send(SECRET, **stream.names("key"))
            plane.put(running.view, resource.make(SECRET, "key", b"k2", sensitive=True))
            plane.put(running.view, resource.make(resource.LISTENER, "l", b"l"))
            assert (await stream.ask(resource.LISTENER)).type_url == resource.LISTENER  # and no SDS before it
        other = {"id": "liar", "cluster": "bank/vault"}
        for credentials, node in ((edge, other), (nobody, plane.NODE)):
            async with connect(running.port, form, node=node, credentials=credentials) as stream:
                await stream.send(CLUSTER)
                assert (await stream.end())[0] == "PERMISSION_DENIED"
        assert "bank/vault" not in running.views.uses
