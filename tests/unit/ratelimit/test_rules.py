"""Finding the limits of a descriptor: against brute force, and with one look at each level."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings, strategies as st

from dragoman.ratelimit import rules
from dragoman.ratelimit.algorithms import FixedWindow

KEYS = st.sampled_from(["k", "l", "k_a"])
VALUES = st.sampled_from([None, "a", "b", "ab", "", "a*", "*", "*b", "a*b*", "a.c", "a_b"])
ASKED = st.sampled_from(["a", "b", "ab", "", "axb", "a.c", "abc", "aXbY", "a_b", "a\nb"])


@st.composite
def tables(draw: st.DrawFn) -> list[rules.Rule]:
    out = []
    for number in range(draw(st.integers(1, 12))):
        matches = []
        for _ in range(draw(st.integers(1, 3))):
            value = draw(VALUES) or None
            matches.append(rules.Match(draw(KEYS), value, bool(value and "*" in value)))
        limit = rules.Limit(FixedWindow(number, 1_000_000))
        out.append(rules.Rule("d", tuple(matches), (limit,) if draw(st.integers(0, 4)) else ()))
    return out


def brute(table: list[rules.Rule], entries: list[tuple[str, str]]) -> tuple[rules.Limit, ...]:
    """Level by level: the exact value, else the first pattern in order of appearance, else the key alone."""
    prefixes = [rule.matches for rule in table]
    way: tuple[rules.Match, ...] = ()
    for key, value in entries:
        level = [p[len(way)] for p in prefixes if len(p) > len(way) and p[: len(way)] == way]
        here = [match for match in level if match.key == key]
        exact = [match for match in here if match.value == value and not match.wildcard]
        wild = [match for match in here if match.wildcard and _fits(match.value or "", value)]
        bare = [match for match in here if match.value is None]
        chosen = next(iter((*exact, *wild, *bare)), None)
        if chosen is None:
            return ()
        way = (*way, chosen)
    return next((rule.limits for rule in table if rule.matches == way), ())


def _fits(pattern: str, value: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), value, re.DOTALL) is not None


@given(tables(), st.lists(st.tuples(KEYS, ASKED), min_size=1, max_size=4))
@settings(max_examples=500, deadline=None)
def test_a_descriptor_finds_what_brute_force_finds(
    table: list[rules.Rule], entries: list[tuple[str, str]]
) -> None:
    found = rules.Table(table).find("d", entries)
    assert tuple(hit.limit for hit in found) == brute(table, entries)
    assert all(hit.counted == tuple(entries) for hit in found)


def test_ten_thousand_rules_cost_one_look_at_a_level() -> None:
    number = 10_000
    patterns = [rules.Match("path", f"/p{index}/*", wildcard=True) for index in range(number)]
    table = rules.Table(
        rules.Rule("d", (match,), (rules.Limit(FixedWindow(index, 1_000_000)),))
        for index, match in enumerate(patterns)
    )
    assert len(table) == number
    root = table._domains["d"]
    made, nodes = root.sets["path"]
    looks: list[str] = []

    class Spy:
        def Match(self, text: str) -> Any:
            looks.append(text)
            return made.Match(text)

    root.sets["path"] = Spy(), nodes
    (hit,) = table.find("d", [("path", "/p9876/x")])
    assert hit.limit.algorithm == FixedWindow(9876, 1_000_000)
    assert table.find("d", [("path", "/q")]) == ()
    assert looks == ["/p9876/x", "/q"]


def test_the_first_of_two_rules_counts() -> None:
    first, second = (rules.Limit(FixedWindow(number, 1_000_000)) for number in (1, 2))
    table = rules.Table(rules.Rule("d", (rules.Match("k"),), (limit,)) for limit in (first, second))
    assert [hit.limit for hit in table.find("d", [("k", "v")])] == [first]
