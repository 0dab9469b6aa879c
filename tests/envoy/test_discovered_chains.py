"""TLS hosts whose filter chains Envoy fetches one by one (`gateways.discovered_chains`): who comes, changes
and goes touches nobody else, also while no control plane is there; and all that holds for listeners with
their chains in them holds here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.envoy.client_site import ClientAuthority, client_policy, config_map
from tests.envoy.test_tls_hosts import CHANGED, COUNT, KEPT, Hosts, host, keep_to_themselves
from tests.harness import manifests, net
from tests.harness.certs import Authority
from tests.harness.load import Load, read_reply
from tests.harness.manifests import http_route, rule
from tests.harness.site import Mode, Site

pytestmark = pytest.mark.envoy

SETTING = {"DRAGOMAN_GATEWAYS_DISCOVERED_CHAINS": "true"}


@contextlib.asynccontextmanager
async def hosts(folder: Path, mode: Mode = "delta") -> AsyncIterator[Hosts]:
    async with Site(folder, mode=mode, drain=20, environment=SETTING) as site:
        made = Hosts(site)
        await made.begin()
        yield made


async def chains_in(made: Hosts) -> list[str]:
    """The names of the filter chains that stand in the listener itself."""
    return [
        chain["name"]
        for section in (await made.site.envoy.config())["configs"]
        for each in section.get("dynamic_listeners", ())
        if each["name"].endswith(f":{made.port}")
        for chain in each["active_state"]["listener"]["filter_chains"]
    ]


def file_of(hostname: str) -> str:
    return f"{hostname.replace('.', '-')}.yaml"


async def gone(made: Hosts, hostname: str) -> None:
    made.site.plane.remove(file_of(hostname))
    await net.until(f"{hostname} gone", partial(made.refused, hostname))


async def test_hosts_come_change_and_go(tmp_path: Path, envoy_binary: Path) -> None:
    async with hosts(tmp_path) as made, contextlib.AsyncExitStack() as stack:
        await keep_to_themselves(made)
        assert await chains_in(made) == ["closed"]
        dump = await made.site.envoy.get("/config_dump?include_eds")
        assert "PRIVATE KEY" not in dump
        kept = [await stack.enter_async_context(made.load(host(number))) for number in KEPT]
        fresh = await stack.enter_async_context(made.load(host(KEPT[0]), fresh=True))
        changed = await stack.enter_async_context(made.load(host(CHANGED)))
        renewed = await stack.enter_async_context(made.load(host(CHANGED), fresh=True))
        for number in range(COUNT, COUNT + 3):
            made.put(host(number))
            await net.until(f"{host(number)} served", partial(made.answers, host(number)))
            await kept[0].more(20)
        updates = "listener_manager.listener_(in_place_updated|modified)"
        before = await made.site.envoy.stats(updates)
        serial = made.put(host(CHANGED))
        await net.until("the new certificate", partial(renewed.serials.get, serial))
        # A certificate is part of the chain: its own connections go, each told with an answer.
        await net.until("connections replaced", lambda: changed.opened >= 2 * changed.connections)
        opened = changed.opened
        policy = client_policy({"paths": {"escapedSlashes": "Reject"}}, section="own")
        policy["spec"]["targetRefs"][0] |= {"kind": "ListenerSet", "name": host(CHANGED).replace(".", "-")}
        made.site.plane.write("policy.yaml", policy)
        await net.until("connections replaced", lambda: changed.opened >= opened + changed.connections)
        assert await made.site.envoy.stats(updates) == before, "the listener had no part in it"
        for number in range(COUNT, COUNT + 3):
            await gone(made, host(number))
            await kept[0].more(20)
        made.put(host(COUNT))  # while its former connections may still be drained
        await net.until(f"{host(COUNT)} served again", partial(made.answers, host(COUNT)))
        await kept[0].more(300)
        await stack.aclose()
        for load in (*kept, fresh, changed, renewed):
            assert not load.failures, (load.host, dict(load.failures))
        for load in kept:
            assert load.opened == load.connections, f"connections of {load.host} have been replaced"


async def test_a_host_goes_with_connections_open(tmp_path: Path, envoy_binary: Path) -> None:
    """They are told; Envoy, which cannot be without the chain while they last, goes on."""
    async with hosts(tmp_path) as made, made.load(host(KEPT[0])) as kept:
        idle = [await connection(made, host(2)) for _ in range(3)]
        await gone(made, host(2))
        await told(idle[0])
        await turn(made, kept.more)
        await told(*idle[1:])
        await turn(made, kept.more)
        assert made.site.envoy.running()
    assert not kept.failures
    assert kept.opened == kept.connections


async def test_a_host_goes_while_no_control_plane_is_there(tmp_path: Path, envoy_binary: Path) -> None:
    async with hosts(tmp_path) as made, made.load(host(KEPT[0])) as kept:
        idle = [await connection(made, host(2)) for _ in range(3)]
        await made.site.plane.kill()
        made.site.plane.remove(file_of(host(2)))
        made.put(host(COUNT))
        await made.site.plane.start()
        await net.until(f"{host(2)} gone", partial(made.refused, host(2)))
        await net.until(f"{host(COUNT)} served", partial(made.answers, host(COUNT)))
        await told(idle[0])
        await turn(made, kept.more)
        await told(*idle[1:])
        await turn(made, kept.more)
        assert made.site.envoy.running()
    assert not kept.failures
    assert kept.opened == kept.connections


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def told(*idle: Connection) -> None:
    """Connections to the host that went are drained, told with an answer or closed: Envoy has not forgotten
    them."""
    for each in idle:
        await net.until("a connection drained", partial(goes, each))


async def goes(connection: Connection) -> bool:
    reader, writer = connection
    try:
        writer.write(f"GET / HTTP/1.1\r\nhost: {host(2)}\r\n\r\n".encode())
        reply = await read_reply(reader)
    except (OSError, asyncio.IncompleteReadError):
        return True
    return reply.headers.get("connection") == "close"


async def turn(made: Hosts, more: Any) -> None:
    """Envoy forgets what it kept for chains that are gone whenever another changes."""
    for _ in range(2):
        serial = made.put(host(5))
        await net.until("the new certificate", partial(shows, made, host(5), serial))
        await more(20)


async def shows(made: Hosts, hostname: str, serial: int) -> bool:
    load = made.load(hostname, fresh=True)
    async with load:
        await load.more(1)
    return load.latest_serial == serial


async def connection(made: Hosts, name: str) -> Connection:
    """One that has had an answer."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", made.port, ssl=made.context, server_hostname=name
    )
    writer.write(f"GET / HTTP/1.1\r\nhost: {name}\r\n\r\n".encode())
    await read_reply(reader)
    return reader, writer


async def test_server_names(tmp_path: Path, envoy_binary: Path) -> None:
    anyone = ssl.create_default_context()
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    async with hosts(tmp_path) as made:
        assert (await asked(made, host(1).upper(), host(1), anyone)) == 200
        assert (await asked(made, "a.b.wild.example", "a.b.wild.example", anyone)) == 200
        for name in ("wild.example", "nobody.example", ""):
            assert (await asked(made, name, host(1), anyone)) == 0, name
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
        writer.write(f"GET / HTTP/1.1\r\nhost: {host(1)}\r\n\r\n".encode())
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b"", "no TLS"
        writer.close()
        # One for every name that is nobody else's.
        pair = made.authority.issue("rest.example")
        rest = manifests.listener("own", made.port, protocol="HTTPS", secret="rest")
        secret = manifests.tls_secret("rest", pair.certificate, pair.key)
        made.site.plane.write("rest.yaml", secret, manifests.listener_set("rest", rest), route_of("rest"))
        for name in ("nobody.example", ""):
            await net.until(
                f"{name or 'no name'} served", partial(is_answered, made, name, "nobody.example", anyone)
            )
        assert (await asked(made, host(1), host(1), anyone)) == 200
        assert (await asked(made, "c.wild.example", "c.wild.example", anyone)) == 200


def route_of(name: str) -> manifests.Body:
    route = http_route(name, rule("shop"), hostnames=["nobody.example"])
    route["spec"]["parentRefs"] = [{"kind": "ListenerSet", "name": name}]
    return route


async def is_answered(made: Hosts, name: str, asks: str, context: ssl.SSLContext) -> bool:
    return await asked(made, name, asks, context) == 200


async def asked(made: Hosts, name: str, asks: str, context: ssl.SSLContext) -> int:
    """The status of an answer, 0 where there is none. `name` "": no server name."""
    try:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", made.port, ssl=context, server_hostname=name or None
        )
    except (ssl.SSLError, OSError):
        return 0
    try:
        writer.write(f"GET / HTTP/1.1\r\nhost: {asks}\r\n\r\n".encode())
        return (await read_reply(reader)).status
    except (OSError, asyncio.IncompleteReadError):
        return 0
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_clients_show_certificates(tmp_path: Path, envoy_binary: Path) -> None:
    clients, others = ClientAuthority(), ClientAuthority("others")
    async with hosts(tmp_path) as made:
        contexts = []
        for authority in (clients, others):
            certificate, key, *_ = authority.issue(tmp_path, "spiffe://shop.example/api")
            context = made.authority.client_context()
            context.load_cert_chain(certificate, key)
            contexts.append(context)
        policy = client_policy(
            {"clientValidation": {"caCertificateRefs": [{"name": "clients"}]}}, section="own"
        )
        policy["spec"]["targetRefs"][0] |= {"kind": "ListenerSet", "name": host(4).replace(".", "-")}
        made.site.plane.write("policy.yaml", policy, config_map("clients", ca_crt=clients.pem))
        await net.until("strangers refused", partial(made.refused, host(4)))
        assert await asked(made, host(4), host(4), contexts[0]) == 200
        assert await asked(made, host(4), host(4), contexts[1]) == 0
        assert await asked(made, host(5), host(5), made.context) == 200


async def test_who_cannot_fetch_chains_has_them_in_the_listener(tmp_path: Path, envoy_binary: Path) -> None:
    async with hosts(tmp_path, "sotw") as made, made.load(host(KEPT[0])) as kept:
        assert len(await chains_in(made)) == COUNT + 1
        await keep_to_themselves(made)
        serial = made.put(host(CHANGED))
        await net.until("the new certificate", partial(shows, made, host(CHANGED), serial))
        made.put(host(COUNT))
        await net.until(f"{host(COUNT)} served", partial(made.answers, host(COUNT)))
        await gone(made, host(COUNT))
        await kept.more(20)
    assert not kept.failures
    assert kept.opened == kept.connections


async def test_a_table_grows_and_shrinks_under_load(tmp_path: Path, envoy_binary: Path) -> None:
    """The chain stays where it is, and has another connection manager when its table is cut into scopes."""
    least, port, authority = 10, net.free_port(), Authority()
    more = {"DRAGOMAN_GATEWAYS_SCOPED_HOSTS": str(least)}
    async with Site(tmp_path, drain=20, environment=SETTING | more) as site:
        pair = authority.issue("*.shop.example")
        secure = manifests.listener("https", port, protocol="HTTPS", hostname="*.shop.example", secret="cert")
        site.plane.write("cert.yaml", manifests.tls_secret("cert", pair.certificate, pair.key))
        site.plane.write("gateway.yaml", *site.gateway(secure))
        for name in ("s0", "s1"):
            site.plane.write(f"{name}.yaml", *await site.service(name))

        def write(count: int, backend: str = "s0") -> None:
            made = [
                http_route(f"r{n}", rule(backend), hostnames=[f"r{n}.shop.example"], section="https")
                for n in range(count)
            ]
            site.plane.write("routes.yaml", *made)

        def opened(number: int, **more: Any) -> Load:
            host = f"r{number}.shop.example"
            return Load(port, host, tls=authority.client_context(), connections=2, **more)

        async def served(number: int) -> bool:
            async with opened(number, warm=1) as load:
                pass
            return not load.failures

        async def cut(wanted: bool) -> bool:
            found = json.dumps(await site.plane.get("/api/v1/snapshot?type=ECDS"))
            return (f'"manager:127.0.0.1:{port}/*.shop.example#@' in found) is wanted

        write(2)
        await net.until("served", partial(served, 0))
        assert await cut(False)
        async with opened(0) as load, opened(1, fresh=True) as fresh:
            for count in (3 * least, 2, 3 * least):
                write(count)
                await net.until(f"{count} hosts", partial(cut, count > least))
                await net.until(f"{count} hosts served", partial(served, count - 1))
                for backend in ("s1", "s0"):
                    write(count, backend)
                    await load.only(backend)
                    await fresh.only(backend, run=10)
        assert not load.failures, dict(load.failures)
        assert not fresh.failures, dict(fresh.failures)
