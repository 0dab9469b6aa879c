"""The companion behind mutual TLS: `dragoman authz`, a control plane that is told of it, the real Envoy, and
certificates that are replaced while all of them run.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.envoy.introspection_site import issuer, section
from tests.envoy.test_auth import GATEWAY, HOST, ask, bearer, policy
from tests.envoy.test_auth_keys import secret
from tests.harness import net, warm
from tests.harness.certs import Authority
from tests.harness.issuer import Issuer
from tests.harness.manifests import http_route, rule
from tests.harness.plane import Plane
from tests.harness.site import Site

__all__ = ["issuer"]

pytestmark = pytest.mark.envoy


class Files:
    """PEM of both sides, below one folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder

    def write(self, of: Authority, trusted: Sequence[Authority]) -> int:
        """New certificates by rename; the serial number of the companion's."""
        server, client = of.issue("127.0.0.1"), of.issue("envoy.example")
        files = {
            "ca.crt": "".join(one.pem for one in trusted),
            "server.crt": server.certificate,
            "server.key": server.key,
            "client.crt": client.certificate,
            "client.key": client.key,
        }
        for name, text in files.items():
            draft = self.folder / f"{name}.draft"
            draft.write_text(text)
            draft.rename(self.folder / name)
        return server.serial

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def client(self, *, certificate: bool) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.path("ca.crt"))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.set_alpn_protocols(["h2"])
        if certificate:
            context.load_cert_chain(self.path("client.crt"), self.path("client.key"))
        return context


async def greeted(port: int, context: ssl.SSLContext | None) -> int | None:
    """The serial number of the certificate of whoever answers (0 without TLS); None where nobody does."""
    writer = None
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        await asyncio.wait_for(reader.readexactly(9), 15)
        shown = writer.get_extra_info("peercert")
        return int(shown["serialNumber"], 16) if shown else 0
    except (OSError, asyncio.IncompleteReadError):
        return None
    finally:
        if writer is not None:
            writer.close()


def start(folder: Path, command: Sequence[str]) -> warm.Process:
    with (folder / "authz.log").open("ab") as log:
        return warm.start(command, log)


async def test_renewed_certificates_cost_no_request(
    tmp_path: Path, envoy_binary: Path, issuer: Issuer
) -> None:
    """Whoever shows no certificate hears nothing; a new authority on both sides, without restarts; and in the
    end the old one is worth nothing."""
    old, new = Authority("old"), Authority("new")
    files = Files(tmp_path / "pem")
    first = files.write(old, [old])
    port = net.free_port()
    site = Site(tmp_path)
    trust = {"ca": "ca.crt", "certificate": "client.crt", "key": "client.key"}
    environment = {
        "DRAGOMAN_AUTHZ_ENABLED": "false",
        "DRAGOMAN_AUTHZ_PORT": str(port),
        "DRAGOMAN_AUTHZ_TRUST": json.dumps({key: files.path(name) for key, name in trust.items()}),
    }
    site.plane = Plane(tmp_path, environment=environment, log_level="debug")
    command = ["authz", str(site.plane.folder), "--port", str(port)]
    for option, name in (("certificate", "server.crt"), ("key", "server.key"), ("client-ca", "ca.crt")):
        command += [f"--tls-{option}", files.path(name)]

    async def renewed() -> bool:
        return site.plane.log.count("the files of authz.trust were replaced") == renewals

    async with site:
        site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", rule("shop")))
        site.plane.write(
            "auth.yaml",
            secret("gateway", **{"client-secret": issuer.secret}),
            policy("all", GATEWAY, introspection=section(issuer)),
        )
        await site.served(HOST, status=503)
        process = start(tmp_path, command)
        try:
            await site.served(HOST, status=401)
            assert (await ask(site, "/", bearer("good"))).status == 200
            assert await greeted(port, None) is None, "plain text"
            assert await greeted(port, files.client(certificate=False)) is None
            outdated = files.client(certificate=True)
            assert await greeted(port, outdated) == first
            assert "PRIVATE KEY" not in json.dumps(await site.envoy.config()) + site.plane.log

            seen: set[int] = set()
            stop = asyncio.Event()

            async def client() -> None:
                while not stop.is_set():
                    seen.add((await ask(site, "/", bearer("good"))).status)

            work = asyncio.create_task(client())
            try:
                renewals = 1
                second = files.write(new, [old, new])
                assert await greeted(port, files.client(certificate=True)) == second
                await net.until("the control plane has noticed", renewed)
                renewals = 2
                third = files.write(new, [new])
                assert await greeted(port, files.client(certificate=True)) == third
                await net.until("once more", renewed)
            finally:
                stop.set()
                await work
            assert seen == {200}
            outdated.load_verify_locations(files.path("ca.crt"))
            assert await greeted(port, outdated) is None, "shown is what the old authority signed"
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 60)
        await site.served(HOST, status=503)
        # Connections are new from here on: Envoy believes the new authority, and shows what it has signed.
        process = start(tmp_path, command)
        try:
            await site.served(HOST, status=401)
            assert (await ask(site, "/", bearer("good"))).status == 200
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 60)


async def test_mutual_tls_inside_the_control_plane(
    tmp_path: Path, envoy_binary: Path, issuer: Issuer
) -> None:
    files = Files(tmp_path / "pem")
    serial = files.write(authority := Authority(), [authority])
    port = net.free_port()
    server = {"certificate": "server.crt", "key": "server.key", "client_ca": "ca.crt"}
    client = {"certificate": "client.crt", "key": "client.key", "ca": "ca.crt"}
    said = {
        f"DRAGOMAN_AUTHZ_{name}": json.dumps({key: files.path(file) for key, file in one.items()})
        for name, one in (("TLS", server), ("TRUST", client))
    }
    site = Site(tmp_path)
    site.plane = Plane(tmp_path, environment={"DRAGOMAN_AUTHZ_PORT": str(port), **said})
    async with site:
        site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", rule("shop")))
        site.plane.write(
            "auth.yaml",
            secret("gateway", **{"client-secret": issuer.secret}),
            policy("all", GATEWAY, introspection=section(issuer)),
        )
        await site.served(HOST, status=401)
        assert (await ask(site, "/", bearer("good"))).status == 200
        assert await greeted(port, None) is None
        assert await greeted(port, files.client(certificate=False)) is None
        assert await greeted(port, files.client(certificate=True)) == serial
