"""Dataclasses that are frozen to the type checker alone are like others in all else."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import dataclass, field, replace

import pytest

from dragoman import frozen


@dataclass(frozen=True, slots=True)
class Plain:
    first: int
    second: str = "two"
    third: tuple[int, ...] = field(default=(3,), compare=False, repr=False)


@frozen.statically
@dataclass(frozen=True, slots=True)
class Quick:
    first: int
    second: str = "two"
    third: tuple[int, ...] = field(default=(3,), compare=False, repr=False)


def test_arguments_are_those_of_the_dataclass() -> None:
    assert inspect.signature(Quick) == inspect.signature(Plain)
    assert Quick(1).second == "two"
    assert Quick(1).third == (3,)
    assert Quick(second="b", first=2) == Quick(2, "b")
    with pytest.raises(TypeError):
        Quick()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Quick(1, fourth=4)  # type: ignore[call-arg]


def test_values_compare_hash_and_show_as_before() -> None:
    one = Quick(1, third=(4,))
    assert one == Quick(1)
    assert one != Quick(2)
    assert hash(one) == hash(Quick(1)) == hash(Plain(1))
    assert repr(one) == repr(Plain(1)).replace("Plain", "Quick")
    assert replace(one, second="b") == Quick(1, "b")
    assert replace(one, second="b").third == (4,)


def test_values_are_copied_and_pickled() -> None:
    one = Quick(1, "b", (4,))
    for other in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert other == one
        assert other.third == (4,)


def test_no_attributes_come_from_nowhere() -> None:
    with pytest.raises(AttributeError):
        Quick(1).fourth = 4  # type: ignore[attr-defined]


def test_defaults_that_are_made_are_made_for_each() -> None:
    @frozen.statically
    @dataclass(frozen=True, slots=True, eq=False)
    class Listed:
        first: int
        items: list[int] = field(default_factory=list)
        last: str = "last"

    assert Listed(1).items == []
    assert Listed(1).items is not Listed(1).items
    assert Listed(1, [2], "b").items == [2]
    assert Listed(1).last == "last"


def test_what_is_more_than_an_assignment_is_refused() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Named:
        item: int

    @dataclass(frozen=True, slots=True)
    class Checked:
        item: int

        def __post_init__(self) -> None:
            assert self.item

    for refused in (Named, Checked):
        with pytest.raises(TypeError):
            frozen.statically(refused)
