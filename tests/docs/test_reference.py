"""docs/reference and manifests/crds are as the models say."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragoman.translators.gateway import schema
from tests.docs import reference

FILES = reference.files()


@pytest.mark.parametrize("path", FILES, ids=lambda one: one.name)
def test_a_file_is_as_the_models_say(path: Path) -> None:
    assert path.exists(), "run: python -m tests.docs.reference"
    assert path.read_text() == FILES[path](), "run: python -m tests.docs.reference"


@pytest.mark.parametrize("kind", reference.KINDS)
def test_every_field_is_described(kind: str) -> None:
    assert not list(_bare(schema.of(kind), "spec"))


def _bare(one: dict[str, object], path: str) -> list[str]:
    found: list[str] = []
    fields = one.get("properties")
    if isinstance(fields, dict):
        for name, inner in fields.items():
            if not inner.get("description"):
                found.append(f"{path}.{name}")
            found += _bare(inner, f"{path}.{name}")
    items = one.get("items")
    return found + (_bare(items, f"{path}[]") if isinstance(items, dict) else [])
