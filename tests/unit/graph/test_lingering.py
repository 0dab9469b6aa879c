"""Keys that stay for a while after their last user."""

from __future__ import annotations

from dragoman.graph.collection import Graph, Source
from dragoman.graph.pipeline.lingering import LINGER, Lingering


def test_a_key_stays_for_a_while_and_goes() -> None:
    graph = Graph()
    used: Source[str, bool] = graph.source("used")
    lingering = Lingering(graph, "keys", used)
    used.put("a", True)
    graph.commit()
    assert not lingering.linger(0.0)
    used.remove("a")
    graph.commit()
    assert lingering.linger(10.0)
    graph.commit()
    assert list(lingering.keys) == ["a"]
    assert not lingering.expire(9.9 + LINGER)
    assert lingering.expire(10.0 + LINGER)
    graph.commit()
    assert not list(lingering.keys)


def test_a_key_that_is_used_again_does_not_go() -> None:
    graph = Graph()
    used: Source[str, bool] = graph.source("used")
    lingering = Lingering(graph, "keys", used)
    for step in (True, False, True):
        used.put("a", True) if step else used.remove("a")
        graph.commit()
        lingering.linger(0.0)
        graph.commit()
    assert lingering.expire(LINGER)
    graph.commit()
    assert list(lingering.keys) == ["a"]
