"""A golden folder: `in.yaml`, and what becomes of it, as text.

    in.yaml          resources, as a user writes them
    ir.yaml          the IR of the node group `*`
    xds.yaml         what Envoy gets, decoded; keys and certificates are redacted
    diagnostics.txt  what `dragoman validate` says
    status.yaml      every object's status

`everywhere.yaml` beside the folders has the fields that every cluster and connection manager shares; they
are left out of the `xds.yaml` files, so that a new default changes one file and not all.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dragoman import resource
from dragoman.diagnostics import text
from dragoman.envoy import clusters, dump as xds_dump, listeners
from dragoman.graph.pipeline import Pipeline
from dragoman.ir import dump as ir_dump, model as ir
from dragoman.refs import Ref
from dragoman.resource import Resource
from dragoman.sources.files import Files

ROOT = Path(__file__).parent
FOLDERS = sorted(path.name for path in ROOT.iterdir() if (path / "in.yaml").exists())
EVERYWHERE = ROOT / "everywhere.yaml"
_MANAGER = "HttpConnectionManager"
_APART = "manager:"


@dataclass(frozen=True)
class Case:
    """What became of one folder's `in.yaml`."""

    folder: Path
    pipeline: Pipeline
    resources: tuple[Resource, ...]

    def files(self) -> Iterator[tuple[str, str]]:
        """File name and content of everything that is compared."""
        for name, data in self.contents():
            yield name, data if isinstance(data, str) else dumped(data)

    def contents(self) -> Iterator[tuple[str, Any]]:
        """File name and what stands in it, as data where it is YAML: writing that takes longest of all."""
        diagnostics = self.pipeline.diagnostics()
        yield "ir.yaml", ir_dump.view(self.pipeline.view())
        yield "xds.yaml", [shown(each) for each in self.resources]
        yield (
            "diagnostics.txt",
            text.report(diagnostics, self.pipeline.locate) + text.summary(diagnostics) + "\n",
        )
        statuses = self.pipeline.statuses()
        yield "status.yaml", {str(ref): plain(statuses[ref].body) for ref in sorted(statuses)}


@functools.cache
def load(folder: str) -> Case:
    """Reads and translates a folder. Files are named relative to it."""
    before = Path.cwd()
    pipeline = Pipeline()
    try:
        os.chdir(ROOT / folder)
        pipeline.apply(Files(["in.yaml"]).load())
    finally:
        os.chdir(before)
    pipeline.commit()
    pipeline.activate("*")
    snapshot = pipeline.snapshot()
    resources = [item for url in snapshot.types() for item in snapshot.resources(url).values()]
    order = {url: number for number, url in enumerate(resource.TYPES)}
    return Case(
        ROOT / folder, pipeline, tuple(sorted(resources, key=lambda each: (order[each.type_url], each.name)))
    )


def shown(item: Resource) -> dict[str, Any]:
    """One resource, without what all of its kind share."""
    body = xds_dump.to_dict(item)
    common = everywhere()
    if item.type_url == resource.CLUSTER:
        body = without(body, common["cluster"])
    elif item.type_url in (resource.LISTENER, resource.EXTENSION):
        for manager in managers(body):
            kept = without(manager, common["connection_manager"])
            manager.clear()
            manager.update(kept)
    name = item.name
    if name.startswith(_APART):
        name = body["name"] = _unversioned(name)
    return {"type": resource.SHORT[item.type_url], "name": name, "body": body}


@functools.cache
def everywhere() -> dict[str, Any]:
    """The fields that stand in every cluster and in every connection manager."""
    key = ir.ClusterKey(Ref("", "Service", "namespace", "name"), 80)
    cluster = xds_dump.to_dict(clusters.encode(ir.Cluster(key, ir.Discovery.EDS)))
    bind = ir.Bind("127.0.0.1", 80)
    plain_chain = ir.FilterChain("", None, ir.Scope(bind))
    (manager,) = managers(xds_dump.to_dict(listeners.encode(ir.Listener(bind, (plain_chain,)))))
    for name in ("name", "type", "eds_cluster_config", "connect_timeout"):
        cluster.pop(name)
    for name in ("@type", "stat_prefix", "rds"):
        manager.pop(name)
    return {"cluster": cluster, "connection_manager": manager}


def managers(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Those of a listener, or the one that is a resource itself. Chains lose the version that they name: it
    covers what all share."""
    for chain in body.get("filter_chains", ()):
        chain.pop("metadata", None)
        for network in chain["filters"]:
            network["name"] = _unversioned(network["name"])
            if network.get("typed_config", {}).get("@type", "").endswith(_MANAGER):
                yield network["typed_config"]
    if body.get("typed_config", {}).get("@type", "").endswith(_MANAGER):
        yield body["typed_config"]


def _unversioned(name: str) -> str:
    return name.partition("@")[0] if name.startswith(_APART) else name


def without(body: dict[str, Any], common: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if common.get(name) != value}


def dumped(data: Any) -> str:
    """YAML without anchors, in the order of the data."""
    return yaml.dump(data, Dumper=_Plain, sort_keys=False, width=100, allow_unicode=True)


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def plain(value: Any) -> Any:
    """Mappings and tuples as YAML knows them."""
    if isinstance(value, dict) or hasattr(value, "items"):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value
