"""A whole site on this machine: backends, the control plane on a folder, an Envoy that it configures.

One Gateway `edge` with a plain-HTTP listener; a test adds what it needs with `plane.write`. Everything is
ended when the `async with` block is left, in whatever state the test left it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal, Self

from tests.harness import manifests, net, warm
from tests.harness.backend import Backend
from tests.harness.echo import Echo, Identity
from tests.harness.envoy import Envoy
from tests.harness.load import Load
from tests.harness.plane import Plane

Mode = Literal["delta", "sotw"]


class Site:
    """`async with Site(folder) as site: ...; async with site.load("shop.example") as load: ...`. `drain`:
    seconds that Envoy leaves connections which it drains; it asks them to go within five."""

    def __init__(
        self,
        folder: Path,
        *,
        mode: Mode = "delta",
        bootstrap: Sequence[str] = (),
        drain: int = 1,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._mode = mode
        self._options = bootstrap
        self._drain = drain
        self._stack = AsyncExitStack()
        self.port = net.free_port()
        self.plane = Plane(folder, environment=environment)
        self.envoy: Envoy = None  # type: ignore[assignment]
        self.backends: dict[str, Backend] = {}

    async def __aenter__(self) -> Self:
        self.plane.write("gateway.yaml", *self.gateway())
        try:
            await self.plane.start()
            bootstrap = await asyncio.to_thread(self.bootstrap)
            self.envoy = Envoy(bootstrap, self._folder, drain=self._drain)
            self._stack.push_async_callback(self.envoy.stop)
            await self.envoy.start()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def _end(self) -> None:
        await self._stack.aclose()
        await self.plane.stop()
        for backend in self.backends.values():
            await backend.stop()

    def bootstrap(self) -> dict[str, Any]:
        """What `dragoman bootstrap` prints for this control plane. All statistics: tests count updates."""
        command = ["bootstrap", "--xds", f"127.0.0.1:{self.plane.xds_port}"]
        command += ["--admin-port", str(net.free_port()), "--id", "test", "--gateway", "*"]
        command.append("--all-statistics")
        if self._mode == "sotw":
            command.append("--sotw")
        command += self._options
        printed = self._folder / "bootstrap.json"
        with printed.open("wb") as output:
            code = warm.start(command, output).wait(60)
        assert code == 0, printed.read_text()
        return json.loads(printed.read_text())  # type: ignore[no-any-return]

    def gateway(self, *more: manifests.Body) -> list[manifests.Body]:
        """The objects of `gateway.yaml`: the plain listener `http`, and further ones."""
        plain = manifests.listener("http", self.port)
        return [manifests.gateway_class(), manifests.gateway(plain, *more)]

    async def backend(self, name: str) -> Backend:
        """A backend that answers under this name. Starts it at first use."""
        if name not in self.backends:
            backend = self.backends[name] = Backend(Echo(Identity(name, name, "shop")))
            await backend.start()
        return self.backends[name]

    async def service(self, name: str) -> list[manifests.Body]:
        """A Service of that name in front of one backend of that name."""
        backend = await self.backend(name)
        return [manifests.service(name), manifests.endpoint_slice(name, backend.port)]

    async def served(self, host: str, *, port: int | None = None, status: int = 200) -> None:
        """Returns when Envoy answers `host` with that status."""

        async def asked() -> bool:
            wanted = str(status)
            async with Load(
                port or self.port, host, connections=1, warm=1, expect=lambda reply: str(reply.status)
            ) as load:
                pass
            return set(load.failures) == {wanted}

        await net.until(f"{host} answered with {status}", asked)

    def load(self, host: str, **more: Any) -> Load:
        """Constant load for `host` on the plain listener."""
        return Load(self.port, host, **more)
