"""What Dragoman would send for a world, as bytes, for those that it is compared with.

The pipeline runs in this process, once per size. The bare server gets its resources and the variants of the
one that changes; the file benchmark gets the same resources with references to files instead of ADS.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from benchmarks import bare, worlds
from dragoman import config, proto, resource
from dragoman.document import Document
from dragoman.envoy import static
from dragoman.graph.pipeline import Pipeline
from dragoman.proto import pack_any
from dragoman.proto.envoy.config.cluster import v3 as cluster
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.config.endpoint import v3 as endpoint
from dragoman.proto.envoy.config.listener import v3 as listener
from dragoman.proto.envoy.config.route import v3 as route
from dragoman.proto.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from dragoman.proto.envoy.service.discovery import v3 as discovery
from dragoman.refs import Ref
from dragoman.sources.base import Update
from dragoman.xds.snapshot import View
from tests.harness.manifests import Body


def document(body: Body) -> Document:
    group = body["apiVersion"].rpartition("/")[0]
    meta = body["metadata"]
    return Document(Ref(group, body["kind"], meta.get("namespace", ""), meta["name"]), body)


def subscriptions(view: View) -> dict[str, tuple[str, ...]]:
    """What a proxy asks for that wants everything, in its order: names by type, none for a wildcard."""
    wild = (resource.CLUSTER, resource.LISTENER, resource.SCOPE)
    found = {type_url: tuple(view.resources(type_url)) for type_url in resource.TYPES}
    return {type_url: () if type_url in wild else names for type_url, names in found.items() if names}


class Prepared:
    """A loaded pipeline. `changed` gives the one resource that a change of documents changes. `whole`: its
    tables are not cut into scopes. `alone`: as `worlds.everything` says."""

    def __init__(
        self, count: int, *, listen: int, backend: int, whole: bool = False, alone: bool = False
    ) -> None:
        settings = config.Settings(gateways=config.Gateways(scoped_hosts=0)) if whole else None
        self.pipeline = Pipeline(settings or config.load(environment={}))
        groups = worlds.everything(count, listen=listen, backend=backend, alone=alone)
        self.pipeline.load([document(body) for group in groups for body in group])
        self.view = self.pipeline.activate("*")

    def apply(self, item: Document) -> None:
        """One changed document, all the way to the views."""
        self.pipeline.apply(Update((item,)))
        self.pipeline.commit()

    @property
    def routed(self) -> str:
        """The type in which routes travel: whole tables, or scopes."""
        return resource.SCOPE if self.view.resources(resource.SCOPE) else resource.ROUTE

    def state(self) -> bare.State:
        return bare.State(
            {
                type_url: {
                    name: (item.version, item.payload) for name, item in self.view.resources(type_url).items()
                }
                for type_url in resource.TYPES
            }
        )

    def changed(self, *bodies: Body) -> list[resource.Resource]:
        seen: list[resource.Resource] = []

        def note(changes: Any) -> None:
            seen.extend(item for named in changes.values() for item in named.values() if item is not None)

        stop = self.view.subscribe(note)
        self.pipeline.load([document(body) for body in bodies])
        stop()
        return seen


# --- the same for Envoy's file subscriptions ----------------------------------------------------------------


def _path_source(path: Path) -> core.ConfigSource:
    return core.ConfigSource(
        resource_api_version=core.ApiVersion.V3, path_config_source=core.PathConfigSource(path=str(path))
    )


def response(type_url: str, payloads: Iterable[Any]) -> discovery.DiscoveryResponse:
    return discovery.DiscoveryResponse(type_url=type_url, resources=[pack_any(item) for item in payloads])


def listeners_for_files(prepared: Prepared, routes: Path) -> Iterator[Any]:
    """Listeners whose route tables come from a file, and whose filters are configured in place."""
    extensions = prepared.view.resources(resource.EXTENSION)
    known = static.filters({name: item.payload for name, item in extensions.items()})
    for item in prepared.view.resources(resource.LISTENER).values():
        made = listener.Listener.FromString(item.payload)
        chains = [
            *made.filter_chains,
            *([made.default_filter_chain] if made.HasField("default_filter_chain") else []),
        ]
        for chain in chains:
            for network in chain.filters:
                manager = hcm.HttpConnectionManager.FromString(network.typed_config.value)
                manager.rds.config_source.CopyFrom(_path_source(routes))
                static.resolve(manager, known)
                network.typed_config.CopyFrom(pack_any(manager))
        yield made


def clusters_for_files(prepared: Prepared) -> Iterator[Any]:
    """Clusters with their endpoints inside: 10,000 file watches would measure something else."""
    ends = prepared.view.resources(resource.ENDPOINT)
    for item in prepared.view.resources(resource.CLUSTER).values():
        made = cluster.Cluster.FromString(item.payload)
        if made.HasField("eds_cluster_config"):
            name = made.eds_cluster_config.service_name or made.name
            made.ClearField("eds_cluster_config")
            made.type = cluster.Cluster.DiscoveryType.STATIC
            made.load_assignment.CopyFrom(endpoint.ClusterLoadAssignment.FromString(ends[name].payload))
        yield made


def as_json(message: Any) -> bytes:
    return orjson.dumps(proto.to_dict(message))


def table(payload: bytes) -> Any:
    return route.RouteConfiguration.FromString(payload)
