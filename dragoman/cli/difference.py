"""Differences as plain data and as text, for `dragoman snapshot diff`.

By resource: every xDS resource that was added, removed or changed, and what changed in it as a unified diff
of its decoded form. By behaviour: the work is `dragoman.difference`'s; here it only gets its two sides and is
shown."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from dragoman import config
from dragoman.cli import render

Data = dict[str, Any]

_SIGNS: Final[Mapping[str, tuple[str, str]]] = {
    "added": ("+", "green"),
    "removed": ("-", "red"),
    "changed": ("~", "yellow"),
}


def resources(before: Sequence[Data], after: Sequence[Data]) -> list[Data]:
    """Added, removed and changed resources (`views.resource` with bodies), in the order in which they are
    sent.
    """
    old = {(item["type"], item["name"]): item for item in before}
    new = {(item["type"], item["name"]): item for item in after}
    out: list[Data] = []
    for key in sorted(old.keys() | new.keys()):
        was, now = old.get(key), new.get(key)
        if was is None or now is None:
            out.append({"change": "added" if was is None else "removed", "type": key[0], "name": key[1]})
        elif was["version"] != now["version"]:
            lines = _unified(was["body"], now["body"])
            out.append({"change": "changed", "type": key[0], "name": key[1], "diff": lines})
    return out


def text(found: Sequence[Data]) -> str:
    """One line per difference, with its details below; then how many there are."""
    if not found:
        return "no difference\n"
    lines: list[str] = []
    for item in found:
        sign, colour = _SIGNS[item["change"]]
        lines.append(click.style(f"{sign} {item['type']} {item['name']}", fg=colour, bold=True))
        lines += [_coloured(line) for line in item.get("diff", ())]
    counts = [
        f"{number} {change}"
        for change in _SIGNS
        if (number := sum(item["change"] == change for item in found))
    ]
    return "\n".join([*lines, f"{render.count(len(found), 'difference')}: {', '.join(counts)}", ""])


def _unified(was: Data, now: Data) -> list[str]:
    """A unified diff of both as YAML, without the file header."""
    a, b = (render.yaml_text(value).splitlines() for value in (was, now))
    return list(difflib.unified_diff(a, b, lineterm="", n=2))[2:]


def _coloured(line: str) -> str:
    colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
    return "    " + (click.style(line, fg=colour) if colour else line)


def behaviour(
    before: Sequence[str], after: Sequence[str], settings: config.Settings, group: str
) -> list[Data]:
    raise NotImplementedError
