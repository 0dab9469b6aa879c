"""Identity and provenance: which object, and which field of it.

`Ref` names an object the way Gateway API does (group, kind, namespace, name). `FieldPath` walks into
its body. `Origin` is both together and is carried by every IR value, so that `explain`, diagnostics and
Envoy's route metadata can name the object behind a value. The module stands below everything and
imports only the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from dragoman import frozen

FieldPath = tuple[str | int, ...]
"""Keys and indices from the document's root, e.g. `("spec", "rules", 0, "backendRefs", 1, "port")`."""


class Ref(NamedTuple):
    """An object's identity. `group` is `""` for the core group; `namespace` is `""` for cluster scope."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {place}"

    @property
    def id(self) -> str:
        """`namespace/name`, or the bare name for cluster-scoped objects."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@frozen.statically
@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from. Left out of the equality of whatever carries it."""

    ref: Ref
    path: FieldPath = ()

    def at(self, *more: str | int) -> Origin:
        """The same object, further in."""
        return Origin(self.ref, self.path + more)

    def __str__(self) -> str:
        return f"{self.ref} {format_path(self.path)}".rstrip()


def format_path(path: FieldPath) -> str:
    """`spec.rules[0].backendRefs[1].port`."""
    out: list[str] = []
    for step in path:
        if isinstance(step, int):
            out.append(f"[{step}]")
        else:
            out.append(f".{step}" if out else step)
    return "".join(out)
