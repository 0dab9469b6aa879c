"""What else there is by that name: the names of a kind in a namespace, for `did you mean`.

Only what refers to something missing looks here. Namespaces with thousands of objects are left out:
keeping their names sorted would cost every addition more than the hint is worth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dragoman.graph.collection import Collection, Context, Graph
from dragoman.refs import Ref
from dragoman.translators import base
from dragoman.translators.gateway import complaints

_MANY: Final = 2000

Names = Collection[str, tuple[str, ...]]
"""Namespace -> names of one kind, sorted."""


def build(graph: Graph, objects: Collection[Ref, base.AnyObject], kind: str) -> Names:
    """The names of one kind. A changed object is no change here, only one added or removed."""
    present = graph.map_one(f"{kind} present", objects, lambda *_: True)
    return graph.group_by(f"{kind} names", present, lambda ref, _: (ref.namespace,), _reduce)


def hint(ctx: Context, names: Names, missing: Ref) -> str:
    """`did you mean ...?` for an object that is not there."""
    known = ctx.fetch(names, missing.namespace) or ()
    return complaints.near(missing.name, known)


def _reduce(_: Context, __: str, members: Mapping[Ref, Any]) -> tuple[str, ...] | None:
    return tuple(sorted(ref.name for ref in members)) if len(members) <= _MANY else None
