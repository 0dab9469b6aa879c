"""Configurations that exist, changed at random (`chaos`): nothing raises, and a pipeline that has seen it all
has what a new one makes of the last state (`lives`).

Each configuration of the golden folders is changed by itself, from a seed of its own, so that the test says
the same whatever is added elsewhere. `DRAGOMAN_CHAOS=1000` runs as many lives more, from everything there is
mixed; `DRAGOMAN_CHAOS_SEED` says where to begin.
"""

from __future__ import annotations

import os
from random import Random

import pytest

from tests.golden import golden
from tests.property import chaos, lives

LIVES = int(os.environ.get("DRAGOMAN_CHAOS", "0"))
FIRST = int(os.environ.get("DRAGOMAN_CHAOS_SEED", "0"))


@pytest.mark.parametrize("folder", golden.FOLDERS)
def test_a_configuration_that_is_changed(folder: str) -> None:
    live(Random(folder), chaos.Corpus(f"tests/golden/{folder}/in.yaml"), changes=2)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + LIVES))
def test_a_life(seed: int) -> None:
    rng = Random(seed)
    live(rng, chaos.corpus(), changes=rng.choice((3, 8, 15)))


def live(rng: Random, corpus: chaos.Corpus, changes: int) -> None:
    life = lives.Life(rng, corpus)
    for _ in range(changes):
        life.change()
        if changes > 2 and rng.random() < 0.3:
            life.check()
    life.look()
    life.spoil()
    life.check()
