"""Comparison of statuses: the few questions that the suite asks of conditions, in words when the answer is
no.

Statuses are plain data in the specification's shape. Every condition is to be at the object's generation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Status = Mapping[str, Any]


def condition(
    holder: Status,
    type_: str,
    status: bool,
    reasons: str | Iterable[str] = (),
    *,
    where: str,
    generation: int | None = None,
) -> Iterator[str]:
    """The condition `type_` is there with that status, and one of the reasons where any are given."""
    wanted = (reasons,) if isinstance(reasons, str) else tuple(reasons)
    found = next((c for c in holder.get("conditions", ()) if c["type"] == type_), None)
    if found is None:
        yield f"{where}: no condition {type_}"
        return
    if found["status"] != str(status):
        said = f"{found['status']} ({found['reason']}: {found.get('message', '')})"
        yield f"{where}: {type_}={said}, expected {status}"
    elif wanted and found["reason"] not in wanted:
        yield f"{where}: {type_} has reason {found['reason']}, expected {' or '.join(wanted)}"
    if generation is not None and found.get("observedGeneration") != generation:
        yield f"{where}: {type_} observed generation {found.get('observedGeneration')}, expected {generation}"


def fresh(holder: Status, generation: int, *, where: str) -> Iterator[str]:
    """Every condition, there or further in (listeners, parents, ancestors), is at `generation`; and there is
    at least one.
    """
    holders = [holder, *holder.get("listeners", ()), *holder.get("parents", ())]
    holders += holder.get("ancestors", ())
    conditions = [c for h in holders for c in h.get("conditions", ())]
    if not conditions:
        yield f"{where}: no conditions"
    for found in conditions:
        seen = found.get("observedGeneration")
        if seen != generation:
            yield f"{where}: {found['type']} observed generation {seen}, expected {generation}"


def listener(gateway: Status, name: str) -> Status:
    return next((item for item in gateway.get("listeners", ()) if item["name"] == name), {})


def listeners(
    gateway: Status, wanted: Mapping[str, int], *, where: str, kind: str = "HTTPRoute"
) -> Iterator[str]:
    """Exactly these listeners (of a Gateway or a ListenerSet), with so many attached routes, and all good."""
    yield from named(gateway, wanted, where=where)
    for name, attached in wanted.items():
        item = listener(gateway, name)
        yield from attachment(item, attached, where=f"{where} listener {name}", kind=kind)
        yield from condition(item, "Accepted", True, "Accepted", where=f"{where} listener {name}")
        yield from condition(item, "ResolvedRefs", True, "ResolvedRefs", where=f"{where} listener {name}")
        yield from condition(item, "Programmed", True, "Programmed", where=f"{where} listener {name}")


def named(gateway: Status, wanted: Iterable[str], *, where: str) -> Iterator[str]:
    """Exactly these listeners have a status."""
    names = sorted(item["name"] for item in gateway.get("listeners", ()))
    if names != sorted(wanted):
        yield f"{where}: listeners {names}, expected {sorted(wanted)}"


def attachment(item: Status, attached: int, *, where: str, kind: str = "HTTPRoute") -> Iterator[str]:
    if item.get("attachedRoutes") != attached:
        yield f"{where}: attachedRoutes {item.get('attachedRoutes')}, expected {attached}"
    kinds = [found["kind"] for found in item.get("supportedKinds", ())]
    if kind not in kinds:
        yield f"{where}: supportedKinds {kinds} lacks {kind}"


def route(
    status: Status,
    *,
    gateway: str,
    accepted: tuple[bool, str] | None = None,
    resolved: tuple[bool, str] | None = None,
    where: str,
    kind: str = "Gateway",
) -> Iterator[str]:
    """The conditions under the parent of that kind and name."""
    for parent in status.get("parents", ()):
        ref = parent["parentRef"]
        if (ref.get("kind", "Gateway"), ref["name"]) == (kind, gateway):
            break
    else:
        yield f"{where}: no status for parent {kind} {gateway}"
        return
    if accepted is not None:
        yield from condition(parent, "Accepted", *accepted, where=f"{where} at {gateway}")
    if resolved is not None:
        yield from condition(parent, "ResolvedRefs", *resolved, where=f"{where} at {gateway}")


def policy(
    status: Status, *, accepted: tuple[bool, str], resolved: tuple[bool, str] | None = None, where: str
) -> Iterator[str]:
    """The conditions of a policy under each of its ancestors; there is at least one."""
    ancestors = status.get("ancestors", ())
    if not ancestors:
        yield f"{where}: no ancestor has a status"
    for ancestor in ancestors:
        yield from condition(ancestor, "Accepted", *accepted, where=where)
        if resolved is not None:
            yield from condition(ancestor, "ResolvedRefs", *resolved, where=where)
