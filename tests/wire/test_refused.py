"""One bad resource among others in a response, and a real Envoy: of types whose resources are watched one by
one it applies some, in an order of its own, until it comes to the bad one, and drops the rest. The rest must
come through all the same."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from dragoman import proto, resource
from dragoman.proto.envoy.config.listener import v3 as listeners
from dragoman.proto.envoy.extensions.transport_sockets.tls import v3 as tls
from dragoman.resource import LISTENER, ROUTE, SECRET, Resource
from dragoman.xds.types import Rejection
from tests.harness import certs, net
from tests.harness.envoy import Envoy
from tests.wire import plane
from tests.wire.test_envoy import FORMS, backend, bootstrap, fetch, is_quiet

pytestmark = [pytest.mark.envoy, pytest.mark.usefixtures("envoy_binary")]

NAMES: Final = [f"r{number:02}" for number in range(12)]
BAD: Final = {"timeout": "-5s"}


@dataclass
class World:
    running: plane.Plane
    ports: dict[str, int]
    rejections: list[Rejection]
    envoy: Envoy

    async def timeouts(self) -> dict[str, str]:
        """The connect timeout of each cluster that Envoy has from us."""
        dump = await self.envoy.config()
        found = [
            entry["cluster"]
            for each in dump["configs"]
            for entry in (*each.get("dynamic_active_clusters", ()), *each.get("dynamic_warming_clusters", ()))
        ]
        return {cluster["name"]: cluster["connect_timeout"] for cluster in found}

    async def answers(self) -> dict[str, str]:
        """What the listener of each route table answers."""
        return {name: await asyncio.to_thread(fetch, port) for name, port in self.ports.items()}

    async def until(self, expected: dict[str, str]) -> None:
        """Waits for these answers."""
        await reached(self.answers, expected)

    @property
    def refused(self) -> tuple[str, ...]:
        """The route tables that the ledger says are refused now."""
        (proxy,) = self.running.ledger.proxies()
        return proxy.types[ROUTE].error_names


async def reached(answers: Callable[[], Awaitable[dict[str, str]]], expected: dict[str, str]) -> None:
    """Waits for these answers; tells the last ones if they do not come."""
    last: dict[str, str] = {}

    async def there() -> bool:
        last.update(await answers())
        return last == expected

    try:
        await net.until("the answers", there)
    except AssertionError:
        assert last == expected
        raise


@contextlib.asynccontextmanager
async def world(api: str, folder: Path, *bad: str) -> AsyncIterator[World]:
    """An Envoy with a listener for each route table, of which some are bad from the beginning."""
    async with contextlib.AsyncExitStack() as stack:
        one = await stack.enter_async_context(backend("one"))
        two = await stack.enter_async_context(backend("two"))
        ports = {name: net.free_port() for name in NAMES}
        running = await stack.enter_async_context(
            plane.plane(
                plane.cluster("a"),
                plane.endpoints("a", one),
                plane.cluster("b"),
                plane.endpoints("b", two),
                *(plane.route(name, "a", **(BAD if name in bad else {})) for name in NAMES),
                *(plane.listener(f"l-{name}", port, name) for name, port in ports.items()),
            )
        )
        envoy = Envoy(bootstrap(api, running.port, net.free_port()), folder)
        made = World(running, ports, [], envoy)
        running.ledger.on_rejection(made.rejections.append)
        await stack.enter_async_context(envoy)
        yield made


@FORMS
async def test_one_bad_route_table_among_changed_ones_hurts_no_other(api: str, tmp_path: Path) -> None:
    async with world(api, tmp_path) as site:
        await site.until(dict.fromkeys(NAMES, "one"))
        await net.until("quiet", lambda: is_quiet(site.running))
        changed = [plane.route(name, "b", **(BAD if name == "r07" else {})) for name in NAMES]
        plane.put(site.running.view, *changed)
        await net.until("the NACK", lambda: site.rejections)
        await site.until(dict.fromkeys(NAMES, "two") | {"r07": "one"})
        assert site.refused == ("r07",)
        assert {each.names for each in site.rejections} == {("r07",)}


@FORMS
async def test_route_tables_that_are_bad_from_the_beginning_hurt_no_other(api: str, tmp_path: Path) -> None:
    async with world(api, tmp_path, "r00", "r05", "r06") as site:
        await site.until(dict.fromkeys(NAMES, "one") | dict.fromkeys(("r00", "r05", "r06"), "404"))
        await net.until("all culprits", lambda: site.refused == ("r00", "r05", "r06"))
        plane.put(site.running.view, plane.route("r05", "b"))
        await site.until(dict.fromkeys(NAMES, "one") | {"r00": "404", "r05": "two", "r06": "404"})
        await net.until("one is healed", lambda: site.refused == ("r00", "r06"))


@pytest.mark.parametrize("limit", ["-1s", "0s"])
async def test_rule_75_a_cluster_that_is_not_well_formed_hurts_no_other(limit: str, tmp_path: Path) -> None:
    """Of such a response Envoy takes nothing, also where its complaint names the one."""
    async with world("DELTA_GRPC", tmp_path) as site:
        await site.until(dict.fromkeys(NAMES, "one"))
        await net.until("quiet", lambda: is_quiet(site.running))
        plane.put(
            site.running.view,
            plane.cluster("a", timeout="3s"),
            plane.cluster("b", timeout=limit),
            plane.cluster("c"),
            plane.endpoints("c", 9),
        )
        await net.until("the NACK", lambda: site.rejections)
        await net.until("quiet", lambda: is_quiet(site.running))
        assert {each.names for each in site.rejections} == {("b",)}
        assert await site.timeouts() == {"a": "3s", "b": "1s", "c": "1s"}


TLS: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"


def secret(name: str, pair: certs.Pair, *, bad: bool = False) -> Resource:
    body = {
        "name": name,
        "tls_certificate": {
            "certificate_chain": {"inline_string": "no certificate" if bad else pair.certificate},
            "private_key": {"inline_string": pair.key},
        },
    }
    payload = proto.serialize(proto.from_dict(tls.Secret, body))
    return resource.make(SECRET, name, payload, sensitive=True)


def tls_listener(name: str, port: int) -> Resource:
    """One that shows the certificate `name`."""
    common = {"tls_certificate_sds_secret_configs": [{"name": name, "sds_config": plane.ADS}]}
    socket = {"name": "tls", "typed_config": {"@type": TLS, "common_tls_context": common}}
    filters = [{"name": "hcm", "typed_config": plane.manager("r")}]
    body = {
        "name": f"l-{name}",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": filters, "transport_socket": socket}],
    }
    payload = proto.serialize(proto.from_dict(listeners.Listener, body))
    return resource.make(LISTENER, f"l-{name}", payload, {ROUTE: ["r"], SECRET: [name]})


def shown(port: int) -> str:
    """The certificate that is shown there."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=10)


@FORMS
async def test_one_bad_certificate_among_changed_ones_hurts_no_other(api: str, tmp_path: Path) -> None:
    authority = certs.Authority()
    names = [f"s{number:02}" for number in range(12)]
    old, new = ({name: authority.issue(f"{name}.example") for name in names} for _ in range(2))
    ports = {name: net.free_port() for name in names}

    async def served() -> dict[str, str]:
        return {name: await asyncio.to_thread(shown, port) for name, port in ports.items()}

    async with (
        plane.plane(
            plane.cluster("a"),
            plane.endpoints("a"),
            plane.route("r", "a"),
            *(secret(name, old[name]) for name in names),
            *(tls_listener(name, port) for name, port in ports.items()),
        ) as running,
        Envoy(bootstrap(api, running.port, net.free_port()), tmp_path),
    ):
        before = {name: pair.certificate for name, pair in old.items()}
        await reached(served, before)
        await net.until("quiet", lambda: is_quiet(running))
        plane.put(running.view, *(secret(name, new[name], bad=name == "s07") for name in names))
        after = {name: pair.certificate for name, pair in new.items()}
        await reached(served, after | {"s07": before["s07"]})
        await net.until("quiet", lambda: is_quiet(running))
        (proxy,) = running.ledger.proxies()
        assert "s07" in proxy.types[SECRET].error_names
        plane.put(running.view, *(secret(name, old[name]) for name in names))
        await reached(served, before)
        await net.until("healed", lambda: not running.ledger.proxies()[0].types[SECRET].error)
