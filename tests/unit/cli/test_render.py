"""Tables, ages, sizes."""

from __future__ import annotations

import click
import pytest

from dragoman.cli import render


def test_columns_line_up_whatever_their_colour() -> None:
    text = render.table(("A", "LONG"), [("x", click.style("y", fg="red")), ("wider", "z")])
    assert click.unstyle(text).splitlines() == ["A      LONG", "x      y", "wider  z"]


def test_lines_have_no_trailing_space() -> None:
    text = click.unstyle(render.table(("A", "B"), [("x", ""), ("", "y")]))
    assert all(line == line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0.0s"), (0.42, "0.4s"), (12, "12s"), (119, "119s"), (130, "2m"), (7200, "2h"), (172800, "2d")],
)
def test_age(seconds: float, text: str) -> None:
    assert render.age(seconds) == text


@pytest.mark.parametrize(("number", "text"), [(812, "812 B"), (4100, "4.1 kB"), (2_000_000, "2.0 MB")])
def test_size(number: int, text: str) -> None:
    assert render.size(number) == text


def test_count() -> None:
    assert [render.count(n, "error") for n in (0, 1, 2)] == ["0 errors", "1 error", "2 errors"]


def test_yaml_keeps_the_order_of_keys() -> None:
    assert render.yaml_text({"b": 1, "a": {"d": [1], "c": "x"}}) == "b: 1\na:\n  d:\n  - 1\n  c: x\n"


def test_yaml_writes_what_is_shared_in_each_place() -> None:
    """Statuses of many routes are one value."""
    shared = [{"type": "Accepted"}]
    assert render.yaml_text([{"a": shared}, {"a": shared}]) == "- a:\n  - type: Accepted\n" * 2
