"""ReferenceGrants: whether an object may refer to one of another namespace.

Grants are kept by the namespace that they open, so that a change there makes only those look again that
refer into it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from dragoman.graph.collection import Collection, Context, Graph
from dragoman.refs import Ref
from dragoman.translators import base
from dragoman.translators.gateway.models import referencegrant as model


class Grant(NamedTuple):
    """One pair out of a ReferenceGrant. `to_name` is "" for any name."""

    from_group: str
    from_kind: str
    from_namespace: str
    to_group: str
    to_kind: str
    to_name: str


Grants = Collection[str, frozenset[Grant]]
"""Namespace -> what may be referred to in it, and by whom."""


def build(graph: Graph, objects: Collection[Ref, base.AnyObject]) -> Grants:
    """The grants of all namespaces."""
    return graph.group_by("grants", objects, lambda ref, _: (ref.namespace,), _reduce)


def permitted(ctx: Context, grants: Grants, source: Ref, target: Ref) -> bool:
    """Whether `source` may refer to `target`. Within a namespace always."""
    if source.namespace == target.namespace:
        return True
    wanted = (source.group, source.kind, source.namespace, target.group, target.kind)
    return any(
        grant[:5] == wanted and grant.to_name in ("", target.name)
        for grant in ctx.fetch(grants, target.namespace) or ()
    )


def hint(source: Ref, target: Ref) -> str:
    """What to do about a reference that is not permitted."""
    return (
        f"a ReferenceGrant in namespace {target.namespace} can allow it:"
        f" from {source.kind} of {source.namespace} to {target.kind} {target.name}"
    )


def _reduce(_: Context, __: str, members: Mapping[Ref, Any]) -> frozenset[Grant]:
    return frozenset(grant for item in members.values() for grant in _grants(item.spec))


def _grants(spec: model.ReferenceGrant) -> Iterable[Grant]:
    for source in spec.from_:
        for target in spec.to:
            yield Grant(
                source.group, source.kind, source.namespace, target.group, target.kind, target.name or ""
            )
