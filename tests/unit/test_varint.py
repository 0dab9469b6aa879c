"""Numbers are written as protobuf writes them, and read as it reads them."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from dragoman.proto import varint
from dragoman.proto.google.protobuf import UInt64Value


@given(st.integers(1, 2**64 - 1))
def test_numbers(number: int) -> None:
    written = UInt64Value(value=number).SerializeToString()
    assert b"\x08" + varint.write(number) == written
    assert varint.read(written + b"\x01", 1) == (number, len(written))


def test_nothing_is_a_zero() -> None:
    assert varint.write(0) == b"\0"
    assert varint.read(b"\0", 0) == (0, 1)


def test_numbers_that_do_not_end() -> None:
    with pytest.raises(IndexError):
        varint.read(b"\xff", 0)
    with pytest.raises(ValueError, match="does not end"):
        varint.read(b"\xff" * 10 + b"\x01", 0)
