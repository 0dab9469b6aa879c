"""What Dragoman makes of configurations that were changed at random (`tests/property/chaos`) is taken by the
real Envoy: whatever is valid for us is valid for it.

The changes are such that most are valid: values at the limits of what the schemas say, fields of other
objects, policies at other targets. `DRAGOMAN_CHAOS=1000` asks about as many more.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from dragoman.envoy import validate
from tests.golden import golden
from tests.property import chaos, lives

pytestmark = pytest.mark.envoy

LIVES = int(os.environ.get("DRAGOMAN_CHAOS", "0"))
FIRST = int(os.environ.get("DRAGOMAN_CHAOS_SEED", "0"))


@pytest.mark.parametrize("folder", golden.FOLDERS[::4])
def test_envoy_takes_a_configuration_that_is_changed(folder: str, envoy_binary: Path) -> None:
    ask(Random(folder), chaos.Corpus(f"tests/golden/{folder}/in.yaml"), envoy_binary)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + LIVES))
def test_envoy_takes_it(seed: int, envoy_binary: Path) -> None:
    ask(Random(seed), chaos.corpus(), envoy_binary)


def ask(rng: Random, corpus: chaos.Corpus, binary: Path) -> None:
    life = lives.Life(rng, corpus)
    for _ in range(rng.randint(2, 8)):
        life.change(valid=True)
    assert validate.check(life.snapshot, binary) == [], life.told
