"""A running gateway for the replay: world, pipeline, xDS server and one Envoy, in one process and its child.

A case talks to `Run`: it applies and deletes objects, asks for statuses, and sends requests until they come
out as expected. Objects reach the pipeline as `Document`s, the same values that any source yields.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from dragoman.document import Document
from dragoman.graph.pipeline import Pipeline
from dragoman.refs import Ref
from dragoman.sources.base import Update
from tests.conformance import cases, client
from tests.conformance.cases import Body, Expectation
from tests.conformance.world import INFRA, Key, World

LIMIT = 6.0
"""Seconds within which a change must be served; the suite allows 30, in a cluster."""


class Run:
    """What a check may do."""

    def __init__(self, world: World, pipeline: Pipeline) -> None:
        self.world = world
        self.pipeline = pipeline
        self._held: dict[Ref, Body] = {}

    # --- objects --------------------------------------------------------------------------------------------

    async def apply(self, bodies: Iterable[Body]) -> None:
        await self.world.apply(bodies)
        self._hand_over()

    def delete(self, bodies: Iterable[Body]) -> None:
        self.world.delete(bodies)
        self._hand_over()

    def object(self, kind: str, name: str, namespace: str = INFRA) -> Body:
        """The object as it stands. Change a copy and `apply` it."""
        return next(b for k, b in self.world.objects.items() if k[1:] == (kind, namespace, name))

    def _hand_over(self) -> None:
        """Gives the pipeline the difference between what it has and what there is."""
        wanted = {_ref(k): body for k, body in self.world.objects.items() if _known(k)}
        upserts = tuple(
            Document(ref, body) for ref, body in wanted.items() if self._held.get(ref) is not body
        )
        deletes = tuple(ref for ref in self._held if ref not in wanted)
        self._held = wanted
        self.pipeline.apply(Update(upserts, deletes))
        self.pipeline.commit()

    # --- answers --------------------------------------------------------------------------------------------

    def status(
        self, kind: str, name: str, namespace: str = INFRA, group: str = "gateway.networking.k8s.io"
    ) -> Mapping[str, Any]:
        found = self.pipeline.statuses().get(Ref(group, kind, namespace, name))
        return found.body if found is not None else {}

    def generation(self, kind: str, name: str, namespace: str = INFRA) -> int:
        return int(self.object(kind, name, namespace)["metadata"]["generation"])

    def target(self, gateway: str = "same-namespace", port: int = 80) -> client.Target:
        """The first address of a Gateway's status, as the suite takes it."""
        addresses = self.status("Gateway", gateway).get("addresses", ())
        if not addresses:
            raise AssertionError(f"Gateway {gateway} has no address in its status")
        return client.Target(addresses[0]["value"], port)

    def tls_target(
        self, gateway: str, sni: str, port: int = 443, certificate: tuple[str, str] | None = None
    ) -> client.Target:
        context = self.world.authority.client_context()
        if certificate:
            context.load_cert_chain(*certificate)
        return client.Target(self.target(gateway).address, port, context, sni)

    async def eventually(self, faults: Callable[[], Iterable[str]]) -> list[str]:
        """For what Envoy has a word in: tries until there is no fault, or until the limit."""
        end = asyncio.get_running_loop().time() + LIMIT
        # Nothing says when Envoy has an opinion.
        while (found := list(faults())) and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return found

    async def expect(self, wanted: Expectation, target: client.Target) -> list[str]:
        """Tries until three passes in a row, or until the limit; then says what was different last."""
        end = asyncio.get_running_loop().time() + LIMIT
        passes, found = 0, ["never tried"]
        while passes < 3:
            try:
                found = client.differences(wanted, await client.send(target, wanted.request), target)
            except (OSError, ssl.SSLError, asyncio.IncompleteReadError, TimeoutError) as failure:
                found = [f"{type(failure).__name__}: {failure}"]
            passes = 0 if found else passes + 1
            if found:
                if asyncio.get_running_loop().time() > end:
                    return [f"{wanted}: {what}" for what in found]
                await asyncio.sleep(0.05)
        return []

    async def expect_all(self, expected: Sequence[Expectation], target: client.Target) -> list[str]:
        found = []
        for wanted in expected:
            found += await self.expect(wanted, target)
        return found


def _ref(key: Key) -> Ref:
    version, kind, namespace, name = key
    return Ref(version.rpartition("/")[0], kind, namespace, name)


def _known(key: Key) -> bool:
    """Deployments are the world's, everything else Dragoman's."""
    return key[1] != "Deployment"


def manifest(case: cases.Case) -> list[Body]:
    return [body for name in case.manifests for body in cases.manifest(name)]
