"""Writes docs/reference (a page per kind of ours, with every field) and manifests/crds from the models.

    .venv/bin/python -m tests.docs.reference

`test_reference.py` checks that they are as the models say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from dragoman.translators.gateway import schema
from dragoman.translators.gateway.policies import attach

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "reference"
CRDS = ROOT / "manifests" / "crds"

KINDS = (*attach.KINDS, "Consumer", "Rollout")
"""The kinds with a page. Backend's schema has rules that its model does not say; it is kept by hand."""

_MADE = "made by `python -m tests.docs.reference` from the models"
_TARGETS = ("targetRefs", "targetSelectors", "mode")


def files() -> dict[Path, Callable[[], str]]:
    """Every file, and what makes the text that it should hold."""
    made = {PAGES / f"{kind.lower()}.md": partial(page, kind) for kind in KINDS}
    return made | {CRDS / f"dragoman.dev_{plural(kind)}.yaml": partial(crd, kind) for kind in KINDS}


def plural(kind: str) -> str:
    name = kind.lower()
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"


def page(kind: str) -> str:
    """The page of a kind in Markdown."""
    spec = schema.of(kind)
    out = [f"# {kind}\n", f"{schema.about(kind)}\n"]
    if kind in attach.KINDS:
        out.append(
            f"Targets: {', '.join(attach.KINDS[kind])} ([how policies attach and merge](../policies.md)).\n"
        )
    out.append(f"`apiVersion: dragoman.dev/v1alpha1`. This page is {_MADE}.\n")
    fields = spec["properties"]
    common = [name for name in _TARGETS if name in fields]
    out.append(_table("spec", {name: fields[name] for name in fields if name not in common}, deep=False))
    for name, one in fields.items():
        if name not in common and _nested(one) is not None:
            out.append(f"## {name}\n")
            out.append(f"{one.get('description', '')}\n")
            out.append(_table(name, _nested(one) or {}, deep=True))
    if common:
        out.append("## Targets\n")
        out.append(_table("spec", {name: fields[name] for name in common}, deep=True))
    return "\n".join(out).rstrip() + "\n"


def _nested(one: dict[str, Any]) -> dict[str, Any] | None:
    inner = one.get("items", one)
    found: dict[str, Any] | None = inner.get("properties")
    return found


def _table(title: str, fields: dict[str, Any], *, deep: bool) -> str:
    rows = [f"| field of `{title}` | | |", "|---|---|---|"]
    rows += [f"| `{name}` | {kind} | {text} |" for name, kind, text in _rows(fields, "", deep)]
    return "\n".join(rows) + "\n"


def _rows(fields: dict[str, Any], prefix: str, deep: bool) -> Iterator[tuple[str, str, str]]:
    for name, one in fields.items():
        listed = one.get("type") == "array"
        yield f"{prefix}{name}", _type(one), one.get("description", "").replace("|", "\\|")
        if deep and (nested := _nested(one)) is not None:
            yield from _rows(nested, f"{prefix}{name}{'[]' if listed else ''}.", deep)


def _type(one: dict[str, Any]) -> str:
    match one:
        case {"enum": choices}:
            return ", ".join(f"`{choice}`" for choice in choices)
        case {"format": "duration"}:
            return "duration"
        case {"type": "array", "items": inner}:
            return f"list of {_type(inner)}{_range(one, 'minItems', 'maxItems', ' entries')}"
        case {"type": "object", "additionalProperties": inner}:
            return f"mapping to {_type(inner)}"
        case {"type": "object"}:
            return "section"
        case {"type": "integer"}:
            return f"whole number{_range(one, 'minimum', 'maximum')}"
        case {"type": "number"}:
            return f"number{_range(one, 'minimum', 'maximum')}"
        case {"type": "boolean"}:
            return "true or false"
        case {"x-kubernetes-int-or-string": True}:
            return "whole number or text"
        case {"type": "string"}:
            return "text"
        case _:
            return "any"


def _range(one: dict[str, Any], low: str, high: str, what: str = "") -> str:
    least, most = one.get(low), one.get(high)
    if least is not None and most is not None:
        return f", {least:g} to {most:g}{what}" if most < 1_000_000_000 else f", from {least:g}{what}"
    if most is not None:
        return f", up to {most:g}{what}"
    return f", from {least:g}{what}" if least is not None else ""


def crd(kind: str) -> str:
    """The CustomResourceDefinition in YAML."""
    name = plural(kind)
    spec = schema.of(kind)
    status = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    body = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{name}.dragoman.dev",
            **({"labels": {"gateway.networking.k8s.io/policy": "Inherited"}} if kind in attach.KINDS else {}),
        },
        "spec": {
            "group": "dragoman.dev",
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": name,
                "singular": kind.lower(),
                "categories": ["dragoman"],
            },
            "versions": [
                {
                    "name": "v1alpha1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
                    ],
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "description": schema.about(kind),
                            "required": ["spec"],
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                "spec": spec,
                                "status": status,
                            },
                        }
                    },
                }
            ],
        },
    }
    text = yaml.safe_dump(body, sort_keys=False, width=120, allow_unicode=True)
    return f"# {kind}: {_MADE}.\n{text}"


if __name__ == "__main__":
    PAGES.mkdir(exist_ok=True)
    for path, made in files().items():
        path.write_text(made())
