"""Consumers that records of API keys in Redis may name, as the companion is told of them.

    AuthPolicy with `redisKeys` -> its namespace --+
    Consumer ---------------------------------------+--> members (by namespace and shard)

Only of namespaces where a policy has keys looked up in Redis. A Consumer that changes makes one shard anew.
Called by `auth_lookups`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import model as ir, shards
from dragoman.refs import Ref
from dragoman.translators import base
from dragoman.translators.gateway.models import authpolicy, consumer, meta, policy


def collection(graph: Graph, objects: base.Objects) -> Collection[tuple[str, str], ir.Asked]:
    """(kind, namespace and shard) -> the Consumers."""
    namespaces: Collection[str, bool] = graph.group_by(
        "namespaces with keys in Redis",
        objects[meta.DRAGOMAN_GROUP, "AuthPolicy"],
        lambda ref, item: (ref.namespace,) if _looks_up(item) else (),
        lambda *_: True,
    )

    def named(ctx: Context, ref: Ref, item: base.AnyObject) -> Iterator[tuple[Ref, ir.Client]]:
        if ctx.fetch(namespaces, ref.namespace):
            spec: consumer.Consumer = item.spec
            yield ref, ir.Client(ref.name, ir.KeySet(ref.namespace), spec.groups, spec.plan or "")

    return graph.group_by(
        "members",
        graph.map_many("Consumers that keys may name", objects[meta.DRAGOMAN_GROUP, "Consumer"], named),
        lambda ref, _: (("Members", f"{ref.namespace}/{shards.of(ref.name)}"),),
        _members,
    )


def _looks_up(item: base.AnyObject) -> bool:
    return isinstance(item.spec, authpolicy.AuthPolicy) and policy.on(item.spec.redis_keys) is not None


def _members(_: Context, __: tuple[str, str], found: Mapping[Ref, ir.Client]) -> ir.Asked:
    ordered = sorted(found, key=lambda ref: ref.name)
    return ir.Members(ordered[0].namespace, tuple(found[ref] for ref in ordered))
