"""A Gateway with ClientPolicies in a real Envoy, without a control plane: YAML in, connections out.

The objects go through the whole translation; what comes of it is a static bootstrap. `RawClient` speaks on
one connection byte by byte, as clients do that a policy is there for.
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dragoman import proto
from dragoman.document import Document
from dragoman.envoy import process, static
from dragoman.envoy.admin import Admin
from dragoman.graph.pipeline import Pipeline
from dragoman.refs import Ref
from tests.harness import manifests, net
from tests.harness.backend import Backend
from tests.harness.certs import Authority
from tests.harness.echo import Answer, Echo, Identity, Request
from tests.harness.load import Reply, read_reply

Body = dict[str, Any]
SERVER = Authority("servers")


def client_policy(spec: Body, *, section: str | None = None, name: str = "", gateway: str = "edge") -> Body:
    """A ClientPolicy for the Gateway, or for one of its listeners."""
    target: Body = {"kind": "Gateway", "name": gateway}
    if section is not None:
        target["sectionName"] = section
    return {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "ClientPolicy",
        "metadata": {"name": name or section or "all", "namespace": "shop"},
        "spec": {"targetRefs": [target], **spec},
    }


def config_map(name: str, **data: str) -> Body:
    """Entries by name; `_` stands for a dot: `ca_crt`."""
    entries = {key.replace("_", "."): value for key, value in data.items()}
    about = {"name": name, "namespace": "shop"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": entries}


def pipeline(objects: list[Body]) -> Pipeline:
    """Everything translated."""
    made = Pipeline()
    made.load(_document(body) for body in manifests.load(manifests.dump(objects)))
    return made


def _document(body: Body) -> Document:
    group = body["apiVersion"].rpartition("/")[0]
    about = body["metadata"]
    namespace = "" if body["kind"] == "GatewayClass" else about.get("namespace", "shop")
    return Document(Ref(group, body["kind"], namespace, about["name"]), body)


@dataclass(slots=True)
class Listening(Echo):
    """A backend that remembers its requests as they came."""

    requests: list[Request] = field(default_factory=list)

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        return Echo.answer(self, request)


@dataclass(slots=True)
class Clients:
    """Envoy and its backend. `ports`: by listener."""

    ports: dict[str, int]
    admin: Admin
    backend: Backend
    pipeline: Pipeline
    requests: list[Request]
    open: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self, listener: str, tls: ssl.SSLContext | None = None, name: str = "") -> RawClient:
        """A connection; with TLS its handshake is done."""
        port = self.ports[listener]
        server = (name or f"{listener}.example") if tls is not None else None
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=server)
        self.open.append(writer)
        return RawClient(reader, writer)

    async def ask(self, listener: str, *lines: str, path: str = "/", host: str = "", **more: Any) -> Reply:
        """One request on a connection of its own."""
        connection = await self.connect(listener, **more)
        try:
            return await connection.ask(*lines, path=path, host=host or f"{listener}.example")
        finally:
            connection.close()

    async def seen(self, listener: str, *lines: str, **more: Any) -> Body:
        """The request as the backend saw it."""
        reply = await self.ask(listener, *lines, **more)
        assert reply.status == 200, reply
        found: Body = json.loads(reply.body)
        return found


@dataclass(slots=True)
class RawClient:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(
        self, *lines: str, path: str = "/", host: str = "a.example", version: str = "1.1", method: str = "GET"
    ) -> Reply:
        """A request with further header lines, and its answer."""
        head = [f"{method} {path} HTTP/{version}", *([f"Host: {host}"] if host != "-" else []), *lines]
        self.writer.write("\r\n".join(head).encode("latin-1") + b"\r\n\r\n")
        return await read_reply(self.reader)

    async def ended(self) -> bool:
        """Whether Envoy ends the connection, within a generous time."""
        try:
            async with asyncio.timeout(15):
                while await self.reader.read(4096):
                    pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True

    def close(self) -> None:
        self.writer.close()


async def connected(port: int) -> RawClient:
    """A plain connection."""
    return RawClient(*await asyncio.open_connection("127.0.0.1", port))


@asynccontextmanager
async def running(
    binary: Path, listeners: dict[str, str], policies: list[Body], more: list[Body] | None = None
) -> AsyncIterator[Clients]:
    """Envoy with a Gateway of these listeners (name -> protocol), each for the host `NAME.example` and on a
    port of its own, or on that of another: `HTTP@other`. One route to one backend, for all of them."""
    ports: dict[str, int] = {}
    bodies: list[Body] = []
    for name, kind in listeners.items():
        protocol, _, other = kind.partition("@")
        ports[name] = ports[other] if other else net.free_port()
        secret = "cert" if protocol == "HTTPS" else None
        bodies.append(
            manifests.listener(
                name, ports[name], protocol=protocol, hostname=f"{name}.example", secret=secret
            )
        )
    pair = SERVER.issue(*(f"{name}.example" for name in listeners))
    echo = Listening(Identity("v1"))
    async with Backend(echo) as backend:
        objects = [
            manifests.gateway_class(),
            manifests.gateway(*bodies),
            manifests.tls_secret("cert", pair.certificate, pair.key),
            manifests.http_route("all", manifests.rule("v1"), hostnames=[]),
            manifests.service("v1"),
            manifests.endpoint_slice("v1", backend.port),
            *policies,
            *(more or []),
        ]
        translated = pipeline(objects)
        snapshot = translated.snapshot()
        resources = [one for kind in snapshot.types() for one in snapshot.resources(kind).values()]
        admin = Admin(port=net.free_port())
        bootstrap = proto.serialize(static.bootstrap(resources, admin))
        async with process.running(bootstrap, binary=binary, admin=admin, concurrency=1) as envoy:
            await envoy.ready()
            site = Clients(ports, admin, backend, translated, echo.requests)
            yield site
            for writer in site.open:
                writer.close()


def trusting(
    *,
    minimum: ssl.TLSVersion | None = None,
    maximum: ssl.TLSVersion | None = None,
    ciphers: str = "",
    alpn: tuple[str, ...] = (),
    shows: tuple[Path, Path] | None = None,
) -> ssl.SSLContext:
    """A client's TLS: believes everything, and shows a certificate if told so."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if minimum is not None:
        context.minimum_version = minimum
    if maximum is not None:
        context.maximum_version = maximum
    if ciphers:
        context.set_ciphers(ciphers)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if shows is not None:
        context.load_cert_chain(*shows)
    return context


class ClientAuthority:
    """Signs clients' certificates with any kind of name, and lists of revoked ones."""

    def __init__(self, name: str = "clients") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self._certificate = self._builder(self._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        signed = self._certificate.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())
        self.pem = signed.public_bytes(serialization.Encoding.PEM).decode()

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    def issue(self, folder: Path, *names: str) -> tuple[Path, Path, int]:
        """Certificate, key, serial number. Names: URIs, addresses, mail addresses, hosts."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "client")])
        made = (
            self._builder(subject, key)
            .add_extension(x509.SubjectAlternativeName(list(map(_name, names))), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        paths = folder / f"{made.serial_number}.crt", folder / f"{made.serial_number}.key"
        paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return *paths, made.serial_number

    def revoking(self, *serials: int) -> str:
        """A list of revoked certificates, PEM."""
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._name)
            .last_update(now - datetime.timedelta(hours=1))
            .next_update(now + datetime.timedelta(days=1))
        )
        for serial in serials:
            one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            builder = builder.add_revoked_certificate(one)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def _name(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    if "@" in name:
        return x509.RFC822Name(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
