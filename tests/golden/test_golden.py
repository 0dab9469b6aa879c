"""What becomes of each golden folder's resources, word for word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.golden import golden

NAMES = ("ir.yaml", "xds.yaml", "diagnostics.txt", "status.yaml")


@pytest.mark.parametrize("folder", golden.FOLDERS)
def test_folder(folder: str, golden_update: bool) -> None:
    case = golden.load(folder)
    compare({case.folder / name: content for name, content in case.files()}, golden_update)


def test_what_is_everywhere(golden_update: bool) -> None:
    compare({golden.EVERYWHERE: golden.dumped(golden.everywhere())}, golden_update)


def compare(files: dict[Path, str], update: bool) -> None:
    for path, content in files.items():
        if update:
            path.write_text(content)
        assert path.exists(), f"{path} is missing; pytest tests/golden --golden-update writes it"
        assert content == path.read_text(), f"{path} differs; --golden-update takes it over"


@pytest.mark.parametrize("folder", golden.FOLDERS)
def test_a_second_build_says_the_same(folder: str) -> None:
    """Nothing depends on hash seeds, on addresses in memory, or on a clock."""
    first = golden.load(folder)
    golden.load.cache_clear()
    second = golden.load(folder)
    assert [(each.name, each.version) for each in first.resources] == [
        (each.name, each.version) for each in second.resources
    ]
    # As text: it has an order, which the data need not have to be equal.
    for (name, one), (_, other) in zip(first.contents(), second.contents(), strict=True):
        assert json.dumps(one, default=repr) == json.dumps(other, default=repr), name


@pytest.mark.parametrize("folder", golden.FOLDERS)
def test_the_snapshot_is_consistent(folder: str) -> None:
    """Whatever a resource refers to is there (rule 68)."""
    assert golden.load(folder).pipeline.snapshot().inconsistencies() == ()
