"""Starts what the replay needs: pipeline and xDS server in this process, one Envoy beside it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from dragoman import config
from dragoman.graph.pipeline import Pipeline
from dragoman.xds.ledger import Ledger
from dragoman.xds.server import Server
from dragoman.xds.types import Rejection, ResourceView
from tests.conformance.run import Run
from tests.conformance.world import World
from tests.harness import envoy, net

SETTINGS = {name: text for name, text in os.environ.items() if name.startswith("DRAGOMAN_GATEWAYS_")}
"""Settings other than the defaults, to see whether the cases pass with them too."""

_LOCK = Path(tempfile.gettempdir()) / "dragoman-conformance.lock"


class _Views:
    """The pipeline's live views as the server asks for them; dropped with the last stream."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.ready = asyncio.Event()
        self.ready.set()

    def acquire(self, group: str) -> ResourceView:
        return self._pipeline.activate(group)

    def release(self, group: str) -> None:
        self._pipeline.deactivate(group)


def _note(pipeline: Pipeline, rejection: Rejection) -> None:
    pipeline.report_rejection(rejection)


@asynccontextmanager
async def serve(world: World, folder: Path) -> AsyncIterator[Run]:
    """One Envoy for all Gateways, each on an address of its own."""
    flags = {"xds.port": net.free_port(), "gateways.addresses": "per-gateway"}
    settings = config.load(environment=SETTINGS, flags=flags)
    with _LOCK.open("w") as lock:
        # Ports are the suite's own. Workers of xdist may share the cases, and have to take turns.
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        pipeline = Pipeline(settings)
        ledger = Ledger()
        ledger.on_rejection(lambda rejection: _note(pipeline, rejection))
        ledger.on_recovery(pipeline.clear_rejection)
        server = Server(settings.xds, _Views(pipeline), ledger)
        await server.start()
        try:
            bootstrap = envoy.bare(net.free_port(), envoy.ads(), [envoy.grpc_cluster(settings.xds.port)])
            async with envoy.Envoy(bootstrap, folder):
                yield Run(world, pipeline)
        finally:
            await server.stop(0)
