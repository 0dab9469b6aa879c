"""Differences by resource: what was added, removed, and which fields of the decoded messages changed.

Elements of lists are told apart by their name, as Envoy does, so that a route put before others is one
added route and not a change of all that follow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from dragoman.difference.change import Change, kind
from dragoman.resource import SHORT, TYPES, Resource

Decode = Callable[[Resource], Mapping[str, Any]]
"""A resource as plain data, secrets redacted: `envoy.dump.to_dict`."""

_NAMES: Final = ("name", "key")
_LONG: Final = 200


def resources(before: Iterable[Resource], after: Iterable[Resource], decode: Decode) -> list[Change]:
    """Every difference, in the order in which resources are sent. Equal versions are not decoded."""
    old = {(item.type_url, item.name): item for item in before}
    new = {(item.type_url, item.name): item for item in after}
    rank = {url: number for number, url in enumerate(TYPES)}
    changes: list[Change] = []
    for key in sorted(old.keys() | new.keys(), key=lambda k: (rank.get(k[0], len(rank)), k)):
        was, now = old.get(key), new.get(key)
        if was == now:
            continue
        details: tuple[str, ...] = ()
        if was is not None and now is not None:
            details = tuple(fields(decode(was), decode(now)))
        changes.append(Change(kind(was, now), SHORT.get(key[0], key[0]), key[1], details))
    return changes


def fields(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """One line for each field that differs: `virtual_hosts[shop.example].routes[a].route.cluster: x → y`."""
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted(before.keys() | after.keys()):
            yield from _pair(before, after, key, f"{path}.{key}" if path else str(key))
    elif _is_list(before) and _is_list(after):
        yield from _lists(before, after, path)
    else:
        yield f"{path}: {_short(before)} → {_short(after)}"


def _lists(before: Sequence[Any], after: Sequence[Any], path: str) -> Iterator[str]:
    old, new = _named(before), _named(after)
    if old is None or new is None:
        old = {str(number): item for number, item in enumerate(before)}
        new = {str(number): item for number, item in enumerate(after)}
    else:
        common = [name for name in old if name in new]
        order = [name for name in new if name in old]
        if common != order:
            yield f"{path}: order {', '.join(common)} → {', '.join(order)}"
    for name in dict.fromkeys((*old, *new)):
        yield from _pair(old, new, name, f"{path}[{name}]")


def _pair(before: Mapping[str, Any], after: Mapping[str, Any], key: str, path: str) -> Iterator[str]:
    if key not in after:
        yield f"{path}: removed {_short(before[key])}"
    elif key not in before:
        yield f"{path}: added {_short(after[key])}"
    else:
        yield from fields(before[key], after[key], path)


def _named(items: Sequence[Any]) -> dict[str, Any] | None:
    """The elements by name; None if some have none, or two the same."""
    named: dict[str, Any] = {}
    for item in items:
        name = next((item[key] for key in _NAMES if key in item), None) if isinstance(item, Mapping) else None
        if not isinstance(name, str) or name in named:
            return None
        named[name] = item
    return named


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONG else f"{text[:_LONG]}..."
