"""Texts are kept packed: what they say, and where, is as before."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, strategies as st

from dragoman.refs import Ref
from dragoman.sources import packing, yamldoc
from dragoman.sources.holdings import Holdings
from tests.unit.sources.build import documents, route, service

_LINES = ("kind: Route", "---", "  name: größe/日本", "\ud83d\ude00", "---\n# only a comment", "\t\x85 x", "")


@given(st.lists(st.one_of(st.sampled_from(_LINES), st.text(string.printable, max_size=9)), max_size=30))
def test_what_was_packed_comes_back(lines: list[str]) -> None:
    packer = packing.Packer()
    for text in ("\n".join(lines), "\n".join(lines[::-1]), "a: 1\n", ""):
        texts = packer.pack(text)
        assert texts.unpack() == [chunk.text for chunk in yamldoc.split(text)]


def test_alike_texts_take_little() -> None:
    packer = packing.Packer()
    texts = [packer.pack(documents(route(f"r{n}"), service(f"s{n}"))) for n in range(20)]
    size = len(documents(route("r1"), service("s1")))
    assert all(len(one._packed) < size / 4 for one in texts)


def test_no_secret_is_a_sample_for_others() -> None:
    packer = packing.Packer()
    packer.pack("kind: Secret\nstringData:\n  password: hunter2hunter2hunter2")
    assert packer.pack("kind: Service")._sample == b"kind: Service"


@pytest.mark.parametrize("count", [3, 600])  # some stay as they are for a while, more are packed
def test_places_are_as_before_after_changes(count: int) -> None:
    held = Holdings()
    for number in range(count):
        held.put(f"f{number}.yaml", documents(route(f"r{number}"), service(f"s{number}")))
    held.flush()
    for number in range(count):
        moved = "# one line more\n" + documents(route(f"r{number}"), service(f"s{number}"))
        held.put(f"f{number}.yaml", moved)
        if number % 2:
            held.put(f"f{number}.yaml", moved + "---\nbroken: [}\n")
    held.flush()
    for number in range(count):
        name = f"s{number}"
        text = ("# one line more\n" + documents(route(f"r{number}"), service(name))).split("\n")
        span = held.locate(Ref("", "Service", "shop", name), ("metadata", "name"))
        assert span is not None
        assert name in span.text
        assert span.text == text[span.line - 1]
    broken = [
        one for one in held.diagnostics() if one.span is not None and one.span.text.startswith("broken")
    ]
    assert len(broken) == count // 2
