"""Listeners whose TLS hosts have filter chains of their own (`gateways.discovered_chains`).

Each is there twice: as Envoys that fetch chains get it (`envoy.discovered_chains`), and with everything in it
(`resource.WHOLE`) for those that cannot. Plain HTTP, HTTP/3 and ports without TLS are as they are without the
setting. Called by `groups`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from dragoman import resource
from dragoman.envoy import discovered_chains, listeners
from dragoman.graph.collection import Collection, Context, Graph
from dragoman.graph.pipeline.binds import NameKey, PortKey
from dragoman.graph.pipeline.shapes import Shapes
from dragoman.ir import client, model as ir
from dragoman.resource import Resource

Settings = Callable[[Context, PortKey], client.PortSettings]
Held = Callable[[Context, ir.SecretKey], ir.Secret | None]


class Discovery:
    """Builds the collections. `listeners`: what takes the place of `whole`; `wholes`: what it replaced."""

    def __init__(
        self,
        graph: Graph,
        chains: Collection[NameKey, ir.FilterChain],
        chunks: Collection[NameKey, listeners.ChainChunk],
        whole: Collection[PortKey, Resource],
        shapes: Shapes,
        settings: Settings,
        held: Held,
        *,
        lazy: bool,
    ) -> None:
        def encode(ctx: Context, key: NameKey, chain: ir.FilterChain) -> discovered_chains.Chain | None:
            made = ctx.fetch(chunks, key)
            if made is None or not discovered_chains.can_be(chain):
                return None
            secrets = {
                used: found
                for used in listeners.used_secrets(chain)
                if (found := held(ctx, used)) is not None
            }
            cut = shapes.of(ctx, (key.port.group, chain.scope)).cut
            return discovered_chains.encode(key.port.bind, chain, made, secrets, cut=cut, lazy=lazy)

        made: Collection[NameKey, discovered_chains.Chain] = graph.map_one(
            "filter chains discovered", chains, encode
        )
        self.chains: Collection[tuple[str, str], Resource] = graph.map_many("FCDS", made, _found)
        # A chain that changes stays where it is: its listener is not made again.
        places: Collection[NameKey, discovered_chains.Place] = graph.map_one(
            "places of filter chains", made, lambda _, __, chain: chain.place
        )
        lists: Collection[PortKey, Resource] = graph.group_by(
            "LDS that discover chains",
            places,
            lambda key, _: (key.port,),
            lambda ctx, port, found: _join(port, found, settings(ctx, port)),
        )
        self.listeners: Collection[PortKey, Resource] = graph.map_one(
            "LDS", whole, lambda ctx, port, item: ctx.fetch(lists, port) or item
        )
        self.wholes: Collection[PortKey, Resource] = graph.map_one(
            "LDS for others",
            whole,
            lambda ctx, port, item: (
                replace(item, type_url=resource.WHOLE) if ctx.fetch(lists, port) else None
            ),
        )


def _found(
    _: Context, key: NameKey, chain: discovered_chains.Chain
) -> Iterator[tuple[tuple[str, str], Resource]]:
    if chain.found is not None:
        yield (key.port.group, chain.found.name), chain.found


def _join(
    port: PortKey, found: Mapping[NameKey, discovered_chains.Place], settings: client.PortSettings
) -> Resource:
    return discovered_chains.join(port.bind, found.values(), settings)
