"""What policies do to requests and responses, in words: a treatment's data (`ir.Treatment`) line by line.

Called by `text` for people and by `difference` to compare.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Data = Mapping[str, Any]


def lines(data: Data) -> Iterator[str]:
    """As lines of an explanation."""
    for title, said in words(data):
        yield f"  {title:<12}  {said}"


def words(data: Data) -> Iterator[tuple[str, str]]:
    """(title, what is done), in the order in which a request meets it, then the response."""
    if "maintenance" in data:
        yield "maintenance", f"but for {' or '.join(_exempt(data['maintenance']))}"
    if "decompression" in data:
        yield "undoes", ", ".join(data["decompression"])
    if "body_limit" in data:
        yield "body", f"{data['body_limit']} bytes at most, else 413"
    for name, title in (("query", "new query"), ("request", "new request"), ("response", "new response")):
        if name in data:
            yield title, changes(data[name])
    for number, override in enumerate(data.get("overrides", ()), 1):
        made = "made by Envoy" if override.get("local") else "of any origin"
        status = f" as {override['status']}" if "status" in override else ""
        body = override.get("body")
        shown = f", {body.get('content_type', 'text/plain')}: {body.get('text', '')}" if body else ", no body"
        yield f"override {number}", f"{' or '.join(override['statuses'])} {made}{status}{shown}"
    if "compression" in data:
        given = data["compression"]
        yield "compresses", f"{', '.join(given['algorithms'])} from {given['min_length']} bytes"


def changes(change: Data) -> str:
    """`rename x-a to x-b; remove x-c, x-d*; set x-e: 1; add x-f: 2`."""
    parts = [f"rename {name} to {to}" for name, to in change.get("rename", ())]
    parts += [f"remove {name}" for name in change.get("remove", ())]
    parts += [f"remove {prefix}*" for prefix in change.get("remove_prefixes", ())]
    parts += [f"{verb} {name}: {value}" for verb in ("set", "add") for name, value in change.get(verb, ())]
    return "; ".join(parts)


def _exempt(maintenance: Data) -> Iterator[str]:
    for name, value in maintenance.get("exempt_headers", ()):
        yield f"header {name}" if value is None else f"header {name}: {value}"
    yield from (f"clients of {each}" for each in maintenance.get("exempt_networks", ()))
