"""What comes and goes leaves nothing behind: a control plane runs for months, and its configuration changes
all the time.

Whole configurations are put in and taken out again, until what lingers has gone. After some rounds of it no
object of ours is there more often than before. Caches of bounded size are emptied before it is counted.
"""

from __future__ import annotations

import functools
import gc
from collections import Counter

import pytest

from dragoman.graph.pipeline import Pipeline
from dragoman.sources.base import Update
from dragoman.sources.files import Files
from dragoman.translators.gateway import identical, validation
from tests.golden import golden

FOLDERS = (
    "01-hello",
    "03-https",
    "34-listenersets",
    "37-backend-client-certificate",
    "45-traffic-backends",
    "46-cache",
    "46-rollouts",
    "52-client-validation",
    "55-http-policies",
    "60-rate-limits",
    "80-oidc-logins",
    "90-consumers",
    "100-rate-limit-quotas",
    "120-claims-routing",
    "130-looked-up-consumers",
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_stays(folder: str) -> None:
    update = Files([str(golden.ROOT / folder / "in.yaml")]).load()
    clock = Clock()
    pipeline = Pipeline(clock=clock)
    pipeline.activate("*")

    def rounds(count: int) -> None:
        for _ in range(count):
            pipeline.apply(Update(upserts=update.upserts))
            pipeline.commit()
            pipeline.apply(Update(deletes=tuple(document.ref for document in update.upserts)))
            pipeline.commit()
            for _ in range(2):  # what lingers for users of what lingers
                clock.now += 1000.0
                pipeline.expire()

    rounds(3)
    before = there()
    rounds(3)
    assert there() - before == Counter()


def there() -> Counter[str]:
    """How many objects of ours there are, by type."""
    validation._lists.clear()
    validation._shared.cache_clear()
    for item in gc.get_objects():
        if isinstance(item, identical.Translations):
            item._known.clear()
        elif (
            isinstance(item, functools._lru_cache_wrapper) and item.cache_parameters()["maxsize"] is not None
        ):
            item.cache_clear()
    gc.collect()
    kinds = (type(item) for item in gc.get_objects())
    return Counter(kind.__qualname__ for kind in kinds if str(kind.__module__).startswith("dragoman."))
