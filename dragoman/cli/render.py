"""How values look on a terminal: tables in the manner of kubectl, YAML, JSON, durations, condition marks.

Tables are plain columns, never cut and never boxed, so that they grep and paste well; colour only on a
terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

GOOD = "green"
BAD = "red"
WAITING = "yellow"


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]], *, indent: str = "") -> str:
    """Left-aligned columns, two spaces apart. Cells may be styled (`click.style`)."""
    lines = [[str(cell) for cell in row] for row in rows]
    all_lines = [list(headers), *lines]
    widths = [max(len(click.unstyle(line[i])) for line in all_lines) for i in range(len(headers))]
    out: list[str] = []
    for number, line in enumerate(all_lines):
        cells = [
            cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(line, widths, strict=True)
        ]
        text = indent + "  ".join(cells).rstrip()
        out.append(click.style(text, bold=True) if number == 0 else text)
    return "\n".join(out)


def data(value: Any, form: str) -> None:
    """Writes plain data as `json` or `yaml` to stdout."""
    click.echo(json_text(value) if form == "json" else yaml_text(value), nl=form == "json")


def json_text(value: Any) -> str:
    import orjson

    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def yaml_text(value: Any) -> str:
    """Block style, keys in the order given. What stands in several places is written in each."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    plain = type("Plain", (dumper,), {"ignore_aliases": lambda *_: True})
    text: str = yaml.dump(value, Dumper=plain, sort_keys=False, allow_unicode=True, width=110)
    return text


def yaml_documents(values: Iterable[Any]) -> str:
    """Several documents, divided by `---`."""
    return "---\n".join(yaml_text(value) for value in values)


def age(seconds: float) -> str:
    """`0.4s`, `12s`, `3m`, `5h`, `2d`."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f}s"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


def count(number: int, noun: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def size(number: int) -> str:
    """Bytes for people: `812 B`, `4.1 kB`, `2.0 MB`."""
    if number < 1000:
        return f"{number} B"
    return f"{number / 1000:.1f} kB" if number < 1_000_000 else f"{number / 1_000_000:.1f} MB"


def finding(item: Mapping[str, Any]) -> str:
    """A diagnostic (`diagnostics.data`) on one line, with its place below."""
    colour = {"error": BAD, "warning": WAITING}.get(item["severity"])
    head = click.style(f"{item['severity']}[{item['code']}]", fg=colour, bold=True)
    at = f"{item['file']}:{item['line']}:{item['column']}" if item["line"] else item["file"] or ""
    owner = item["object"]
    who = f"{owner['kind']} {'/'.join(filter(None, (owner['namespace'], owner['name'])))}" if owner else ""
    place = "  ".join(part for part in (at, who) if part)
    return f"{head}: {item['message'].strip()}" + (f"\n  --> {place}" if place else "")


def indented(text: str, by: str = "  ") -> str:
    return "\n".join(by + line if line else line for line in text.splitlines())
