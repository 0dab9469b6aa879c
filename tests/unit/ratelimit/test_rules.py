"""Finding the limits of a descriptor: against brute force, and with one look at each level."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings, strategies as st

from dragoman.ratelimit import patterns, rules
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


def test_prefixes_cost_a_look_for_each_length_however_many_there_are() -> None:
    looks: list[str] = []

    class Spy(dict[str, int]):
        def get(self, key: str, default: Any = None) -> Any:
            looks.append(key)
            return super().get(key, default)

    many = patterns.Patterns([f"/p{number:05}/*" for number in range(10_000)] + ["/*"])
    many._prefixes = Spy(many._prefixes)
    assert [many.first(text) for text in ("/p09876/x", "/q", "q")] == [9876, 10_000, -1]
    assert len(looks) == 2 + 1 + 1


def test_other_patterns_are_looked_at_by_the_dozen() -> None:
    """Five thousand in one set are more than RE2 builds."""
    many = patterns.Patterns([f"*x{number}-*y*z{number}-*" for number in range(5000)])
    assert len(many._sets) < 200
    texts = ("qx4321-qyz4321-", "x7-yz7-", "x7-yz8-", "", "x9-x3-yz3-z9-")
    assert [many.first(text) for text in texts] == [4321, 7, -1, -1, 3]


@given(st.lists(VALUES.filter(lambda each: bool(each and "*" in each)), min_size=1, max_size=8), ASKED)
@settings(max_examples=300, deadline=None)
def test_the_first_pattern_that_matches(texts: list[str], value: str) -> None:
    expected = next((index for index, text in enumerate(texts) if _fits(text, value)), -1)
    assert patterns.Patterns(texts).first(value) == expected


def test_the_first_of_two_rules_counts() -> None:
    first, second = (rules.Limit(FixedWindow(number, 1_000_000)) for number in (1, 2))
    table = rules.Table(rules.Rule("d", (rules.Match("k"),), (limit,)) for limit in (first, second))
    assert [hit.limit for hit in table.find("d", [("k", "v")])] == [first]


def test_entries_without_an_order_are_found_in_a_rules_order() -> None:
    limit = rules.Limit(FixedWindow(1, 1_000_000), metric="m")
    other = rules.Limit(FixedWindow(2, 1_000_000), metric="o")
    table = rules.Table(
        [
            rules.Rule(
                "d",
                (rules.Match("z", "1"), rules.Match("a"), rules.Match("m", "x*", wildcard=True)),
                (limit,),
            ),
            rules.Rule("d", (rules.Match("a"), rules.Match("z", "2")), (other,)),
        ]
    )
    (hit,) = table.find_unordered("d", [("a", "v"), ("m", "x1"), ("z", "1")])
    assert (hit.limit, hit.counted) == (limit, (("z", "1"), ("a", "v"), ("m", "x1")))
    (hit,) = table.find_unordered("d", [("z", "2"), ("a", "v")])
    assert hit.limit is other
    for entries in ([("a", "v")], [("a", "v"), ("z", "3")], [("a", "v"), ("m", "y"), ("z", "1")], []):
        assert table.find_unordered("d", entries) == ()
    assert table.find_unordered("e", [("a", "v")]) == ()
