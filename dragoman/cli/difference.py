"""`dragoman snapshot diff`, after its arguments are read: differences as plain data and as text.

The work is `dragoman.difference`'s; here it gets its two sides, one of which may be a running control plane.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from dragoman import config, difference
from dragoman.cli import render, workspace

Data = dict[str, Any]

_SIGNS: Final[Mapping[str, tuple[str, str]]] = {
    "added": ("+", "green"),
    "removed": ("-", "red"),
    "changed": ("~", "yellow"),
}


def resources(before: Sequence[Data], after: Sequence[Data]) -> list[Data]:
    """Resources (`views.resource` with bodies) that were added, removed or changed, and in which fields."""
    old = {(item["type"], item["name"]): item for item in before}
    new = {(item["type"], item["name"]): item for item in after}
    out: list[Data] = []
    for key in sorted(old.keys() | new.keys()):
        was, now = old.get(key), new.get(key)
        if was is None or now is None:
            change = difference.Change("added" if was is None else "removed", *key)
        elif was["version"] != now["version"]:
            change = difference.Change("changed", *key, tuple(difference.fields(was["body"], now["body"])))
        else:
            continue
        out.append(change.data())
    return out


def behaviour(
    before: Sequence[str], after: Sequence[str], settings: config.Settings, group: str
) -> list[Data]:
    """What clients and backends would notice: ports, requests, clusters, endpoints."""
    old, new = (workspace.read(paths, settings, group).pipeline.view(group) for paths in (before, after))
    return [change.data() for change in difference.behaviour(old, new)]


def text(found: Sequence[Data]) -> str:
    """One line per difference, with its details below; then how many there are."""
    if not found:
        return "no difference\n"
    lines: list[str] = []
    for item in found:
        sign, colour = _SIGNS[item["change"]]
        lines.append(click.style(f"{sign} {item['type']} {item['name']}", fg=colour, bold=True))
        lines += [f"    {line}" for line in item.get("details", ())]
    counts = [
        f"{number} {change}"
        for change in _SIGNS
        if (number := sum(item["change"] == change for item in found))
    ]
    return "\n".join([*lines, f"{render.count(len(found), 'difference')}: {', '.join(counts)}", ""])
