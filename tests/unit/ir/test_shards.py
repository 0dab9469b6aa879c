"""Envoy and we must find the same shard: XXH64, as its specification has it."""

from __future__ import annotations

import collections

import pytest

from dragoman.ir import shards


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0xEF46DB3751D8E999),
        ("a", 0xD24EC4F1A98C6E5B),
        ("abc", 0x44BC2CF5AD770999),
    ],
)
def test_known_hashes(text: str, expected: int) -> None:
    assert shards.xxh64(text.encode()) == expected


def test_keys_are_spread_evenly() -> None:
    found = collections.Counter(shards.of(f"user-{at:06}@shop.example") for at in range(8000))
    assert len(found) == shards.COUNT
    assert max(found.values()) < 2 * min(found.values())
