"""The incremental engine against itself from scratch.

A random graph of derived collections (with fetches among them) is changed at random; after every commit each
collection must equal the one that a new graph makes of the same sources. `runs` must show that only the keys
touched by a change, directly or through a fetch, were computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dragoman.graph.collection import Change, Collection, Context, Graph, Source

KEYS = tuple("abcd")
Value = tuple[Any, ...]


@dataclass(frozen=True)
class Step:
    """How one derived collection is made. `over` and `reads` are positions of earlier collections."""

    kind: str
    over: int
    reads: tuple[int, ...]
    salt: int


def looked_up(
    ctx: Context, reads: Iterable[Collection[str, Value]], key: str, value: Value, salt: int
) -> Value:
    """What a transform finds elsewhere: the key fetched depends on the data, so dependencies come and go."""
    found = []
    for number, collection in enumerate(reads):
        wanted = KEYS[(len(str(value)) + number + salt) % len(KEYS)]
        if (len(str(value)) + salt) % 3:
            found.append(ctx.fetch(collection, wanted))
        found.append(ctx.fetch(collection, key[:1]))
    return tuple(found)


def digest(*parts: object) -> Value:
    """Small, and often equal to the one before: changes have to stop somewhere."""
    return (sum(str(parts).encode()) % 7,)


def build(
    steps: Iterable[Step],
) -> tuple[Graph, tuple[Source[str, Value], Source[str, Value]], list[Collection[str, Value]]]:
    graph = Graph()
    sources: tuple[Source[str, Value], Source[str, Value]] = (graph.source("left"), graph.source("right"))
    made: list[Collection[str, Value]] = list(sources)
    for number, step in enumerate(steps):
        made.append(derive(graph, f"{number} {step.kind}", step, made))
    return graph, sources, made


def derive(graph: Graph, name: str, step: Step, made: list[Collection[str, Value]]) -> Collection[str, Value]:
    over = made[step.over]
    reads = [made[position] for position in step.reads]
    salt = step.salt

    def one(ctx: Context, key: str, value: Value) -> Value | None:
        found = digest(value, looked_up(ctx, reads, key, value, salt))
        return None if found[0] == salt % 7 else found

    def many(ctx: Context, key: str, value: Value) -> Iterable[tuple[str, Value]]:
        found = looked_up(ctx, reads, key, value, salt)
        return [(f"{key}{number}", digest(number, found)) for number in range(digest(value, found)[0] % 3)]

    def groups(key: str, value: Value) -> Iterable[str]:
        return sorted({KEYS[(value[0] + salt) % 3], KEYS[value[0] % 2]} if value[0] % 5 else set())

    def reduce(ctx: Context, key: str, members: Mapping[str, Value]) -> Value | None:
        found = looked_up(ctx, reads, key, (len(members),), salt)
        return digest(sorted(members.items()), found) if len(members) != 3 else None

    def reduce_sorted(ctx: Context, key: str, members: list[Value]) -> Value | None:
        return (*map(tuple, members), looked_up(ctx, reads, key, (len(members),), salt))[:4]

    match step.kind:
        case "map_one":
            return graph.map_one(name, over, one)
        case "map_many":
            return graph.map_many(name, over, many)
        case "group_by":
            return graph.group_by(name, over, groups, reduce)
        case "sorted_groups":
            sorted_values = graph.sorted_groups(
                name,
                over,
                lambda key, value: KEYS[value[0] % 3],
                lambda key, value: value[0] % 2,
                reduce_sorted,
            )
            return graph.map_one(f"{name} digest", sorted_values, lambda _, key, value: digest(value))
        case "named":
            named = graph.named(name, (over, groups), *((each, lambda key, _: key[:1]) for each in reads))
            return graph.map_one(f"{name} digest", named, lambda ctx, key, _: digest(key))
        case _:
            return graph.union(name, over, *reads)


@st.composite
def plans(draw: st.DrawFn) -> list[Step]:
    steps: list[Step] = []
    for position in range(2, 2 + draw(st.integers(1, 7))):
        earlier = st.integers(0, position - 1)
        steps.append(
            Step(
                draw(st.sampled_from(["map_one", "map_many", "group_by", "named", "sorted_groups", "union"])),
                draw(earlier),
                tuple(draw(st.lists(earlier, max_size=2, unique=True))),
                draw(st.integers(0, 6)),
            )
        )
    return steps


values = st.tuples(st.integers(0, 5))


class Incremental(RuleBasedStateMachine):
    """Puts and removes at random, commits at random."""

    @initialize(steps=plans())
    def start(self, steps: list[Step]) -> None:
        self.steps = steps
        self.graph, self.sources, self.made = build(steps)
        self.model: tuple[dict[str, Value], dict[str, Value]] = ({}, {})
        self.committed = True
        self.seen: list[dict[str, Value]] = [{} for _ in self.made]
        for collection, seen in zip(self.made, self.seen, strict=True):
            collection.subscribe(self.follow(seen))

    def follow(self, seen: dict[str, Value]) -> Callable[[list[Change[str, Value]]], None]:
        """An observer that keeps a copy from changes alone."""

        def observe(changes: list[Change[str, Value]]) -> None:
            for key, old, new in changes:
                assert seen.get(key) == old
                assert old != new
                if new is None:
                    del seen[key]
                else:
                    seen[key] = new

        return observe

    @rule(side=st.integers(0, 1), key=st.sampled_from(KEYS), value=values)
    def put(self, side: int, key: str, value: Value) -> None:
        self.sources[side].put(key, value)
        self.model[side][key] = value
        self.committed = False

    @rule(side=st.integers(0, 1), key=st.sampled_from(KEYS))
    def remove(self, side: int, key: str) -> None:
        self.sources[side].remove(key)
        self.model[side].pop(key, None)
        self.committed = False

    @rule()
    def commit(self) -> None:
        self.graph.commit()
        self.committed = True

    @rule()
    def commit_again(self) -> None:
        """A commit of nothing runs nothing."""
        self.graph.commit()
        before = runs(self.made)
        self.graph.commit()
        assert runs(self.made) == before
        self.committed = True

    @rule(side=st.integers(0, 1), key=st.sampled_from(KEYS))
    def put_the_same(self, side: int, key: str) -> None:
        """An equal value is no change."""
        if self.committed and key in self.model[side]:
            before = runs(self.made)
            self.sources[side].put(key, tuple(self.model[side][key]))
            self.graph.commit()
            assert runs(self.made) == before

    @invariant()
    def equals_a_build_from_scratch(self) -> None:
        if not self.committed:
            return
        graph, sources, fresh = build(self.steps)
        for source, model in zip(sources, self.model, strict=True):
            for key in sorted(model):
                source.put(key, model[key])
        graph.commit()
        for kept, new, seen in zip(self.made, fresh, self.seen, strict=True):
            assert dict(kept.items()) == dict(new.items()) == seen, kept.name


def runs(collections: Iterable[Collection[str, Value]]) -> list[int]:
    return [getattr(collection, "runs", 0) for collection in collections]


TestIncremental = Incremental.TestCase
TestIncremental.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)


@settings(max_examples=100, deadline=None)
@given(
    base=st.dictionaries(st.sampled_from(KEYS), values),
    other=st.dictionaries(st.sampled_from(KEYS), values),
    key=st.sampled_from(KEYS),
    value=values,
)
def test_only_the_keys_that_read_a_change_run_again(
    base: dict[str, Value], other: dict[str, Value], key: str, value: Value
) -> None:
    graph = Graph()
    left: Source[str, Value] = graph.source("left")
    right: Source[str, Value] = graph.source("right")
    computed: list[str] = []

    def join(ctx: Context, own: str, item: Value) -> Value:
        computed.append(own)
        return (item, ctx.fetch(right, KEYS[item[0] % len(KEYS)]))

    joined = graph.map_one("joined", left, join)
    counted = graph.map_one("counted", joined, lambda _, own, item: item)
    for source, model in ((left, base), (right, other)):
        for name, item in model.items():
            source.put(name, item)
    graph.commit()
    assert sorted(computed) == sorted(base)
    computed.clear()
    before = counted.runs  # type: ignore[attr-defined]
    right.put(key, value)
    graph.commit()
    readers = {name for name, item in base.items() if KEYS[item[0] % len(KEYS)] == key}
    expected = readers if other.get(key) != value else set()
    assert sorted(computed) == sorted(expected)
    assert counted.runs - before == len(expected)  # type: ignore[attr-defined]
    for name, item in base.items():
        current = value if KEYS[item[0] % len(KEYS)] == key else other.get(KEYS[item[0] % len(KEYS)])
        assert counted.get(name) == (item, current)


@settings(max_examples=100, deadline=None)
@given(items=st.dictionaries(st.text(max_size=3), values, min_size=1), value=values, data=st.data())
def test_one_member_changed_reduces_its_groups_and_no_other(
    items: dict[str, Value], value: Value, data: st.DataObject
) -> None:
    graph = Graph()
    source: Source[str, Value] = graph.source("source")
    reduced: list[object] = []

    def reduce(_: Context, group: int, members: Mapping[str, Value]) -> tuple[str, ...]:
        reduced.append(group)
        return tuple(sorted(members))

    grouped = graph.group_by("grouped", source, lambda _, item: (item[0] % 3,), reduce)
    for name, item in items.items():
        source.put(name, item)
    graph.commit()
    reduced.clear()
    name = data.draw(st.sampled_from(sorted(items)))
    source.put(name, value)
    graph.commit()
    left_in = {item[0] % 3 for other, item in items.items() if other != name} | {value[0] % 3}
    touched = {items[name][0] % 3, value[0] % 3} if items[name] != value else set()
    assert sorted(reduced) == sorted(touched & left_in)
    assert set(grouped) == left_in


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KEYS), st.none() | values), max_size=30))
def test_sorted_groups_hand_over_members_in_order(changes: list[tuple[str, Value | None]]) -> None:
    graph = Graph()
    source: Source[str, Value] = graph.source("source")
    ordered = graph.sorted_groups(
        "ordered",
        source,
        lambda _, item: item[0] % 2,
        lambda _, item: -(item[0] // 3),
        lambda _, group, items: tuple(items),
    )
    model: dict[str, Value] = {}
    for key, value in changes:
        if value is None:
            source.remove(key)
            model.pop(key, None)
        else:
            source.put(key, value)
            model[key] = value
        graph.commit()
    expected: dict[int, tuple[Value, ...]] = {}
    for _, item in sorted(model.items(), key=lambda pair: (-(pair[1][0] // 3), pair[0])):
        expected[item[0] % 2] = (*expected.get(item[0] % 2, ()), item)
    assert dict(ordered.items()) == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(KEYS), values), max_size=5))
def test_no_transform_runs_twice_in_one_commit(rounds: list[dict[str, Value]]) -> None:
    """A diamond: what depends on a change by two ways of different length runs once, after both."""
    graph = Graph()
    source: Source[str, Value] = graph.source("source")
    near = graph.map_one("near", source, lambda _, key, item: (item[0] % 2,))
    far = graph.map_one("far", near, lambda _, key, item: (item[0] + 1,))
    computed: list[str] = []

    def meet(ctx: Context, key: str, item: Value) -> Value:
        computed.append(key)
        seen = (ctx.fetch(near, key), ctx.fetch(far, key))
        assert seen == ((item[0] % 2,), (item[0] % 2 + 1,))  # never half of a change
        return (item, *seen)

    met = graph.map_one("met", source, meet)
    for changes in rounds:
        for key, value in changes.items():
            source.put(key, value)
        computed.clear()
        graph.commit()
        assert len(computed) == len(set(computed))
    assert set(met) == set(source)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["x", "y"]), st.sampled_from(KEYS), st.integers(0, 3)), max_size=20)
)
def test_what_is_no_longer_read_wakes_nobody(changes: list[tuple[str, str, int]]) -> None:
    """Where the data decides what is fetched, the last run's fetches count and no earlier ones."""
    graph = Graph()
    pointers: Source[str, str] = graph.source("pointers")
    data: Source[str, int] = graph.source("data")
    computed: list[str] = []

    def follow(ctx: Context, key: str, pointer: str) -> tuple[str, int | None]:
        computed.append(key)
        return pointer, ctx.fetch(data, pointer)

    followed = graph.map_one("followed", pointers, follow)
    aims: dict[str, str] = {}
    known: dict[str, int] = {}
    for reader, key, value in changes:
        computed.clear()
        if value:
            data.put(key, value)
            expected = [name for name, aim in aims.items() if aim == key and known.get(key) != value]
            known[key] = value
        else:
            pointers.put(reader, key)
            expected = [reader] if aims.get(reader) != key else []
            aims[reader] = key
        graph.commit()
        assert sorted(computed) == sorted(expected)
    assert dict(followed.items()) == {reader: (aim, known.get(aim)) for reader, aim in aims.items()}


@given(
    st.lists(
        st.tuples(st.integers(0, 39), st.integers(0, 24), st.sampled_from(("all", "a", "b", "own", "gone"))),
        max_size=40,
    )
)
@settings(max_examples=100, deadline=None)
def test_many_readers_of_one_key_come_and_go(moves: list[tuple[int, int, str]]) -> None:
    graph = Graph()
    pointers: Source[str, str] = graph.source("pointers")
    data: Source[str, int] = graph.source("data")
    computed: list[str] = []

    def follow(ctx: Context, key: str, pointer: str) -> tuple[int | None, ...]:
        computed.append(key)
        wanted = {"all": ("a", "b", "a", key), "own": (key,)}.get(pointer, (pointer,))
        return tuple([ctx.fetch(data, one) for one in wanted])

    graph.map_one("followed", pointers, follow)
    aims: dict[str, str] = {}
    number = 0
    for first, more, aim in [(0, 39, "all"), *moves]:
        for reader in (f"r{n}" for n in range(first, min(first + more, 39) + 1)):
            if aim == "gone":
                pointers.remove(reader)
                aims.pop(reader, None)
            else:
                pointers.put(reader, aim)
                aims[reader] = aim
        graph.commit()
        for key in ("a", "b", "r3"):
            number += 1
            data.put(key, number)
            computed.clear()
            graph.commit()
            reads = {key, "all"} if key in "ab" else set()
            expected = {reader for reader, its in aims.items() if its in reads}
            expected |= {key} if aims.get(key) in ("own", "all") else set()
            assert sorted(computed) == sorted(expected)


def test_what_reads_its_own_key_elsewhere_runs_again_for_that_alone() -> None:
    graph = Graph()
    left: Source[str, Value] = graph.source("left")
    right: Source[str, Value] = graph.source("right")
    computed: list[str] = []

    def made(ctx: Context, key: str, value: Value) -> Value:
        computed.append(key)
        wanted = {"own": key, "next": chr(ord(key) + 1), "none": None}[value[0]]
        return (value, None if wanted is None else ctx.fetch(right, wanted))

    followed = graph.map_one("followed", left, made)

    def runs(*changed: str, number: int) -> list[str]:
        for key in changed:
            right.put(key, (number,))
        computed.clear()
        graph.commit()
        return sorted(computed)

    for key, how in zip("abc", ("own", "next", "none"), strict=True):
        left.put(key, (how,))
    graph.commit()
    assert runs("a", number=1) == ["a"]
    assert runs("b", number=1) == []  # it reads of c, and nobody of b
    assert runs("c", number=1) == ["b"]
    left.put("a", ("none",))
    left.put("b", ("own",))
    graph.commit()
    assert runs("a", "c", number=2) == []
    assert runs("b", number=2) == ["b"]
    assert followed.get("b") == (("own",), (2,))
    left.remove("b")
    graph.commit()
    assert runs("b", number=3) == []


def test_a_transform_cannot_read_what_is_made_after_it() -> None:
    graph = Graph()
    source: Source[str, Value] = graph.source("source")
    later: list[Collection[str, Value]] = []
    graph.map_one("early", source, lambda ctx, key, _: ctx.fetch(later[0], key))
    later.append(graph.map_one("late", source, lambda _, key, item: item))
    source.put("a", (1,))
    with pytest.raises(RuntimeError, match="made after it"):
        graph.commit()
