"""Scope keys: what Envoy's expression makes of a Host header is the fold of the host name."""

from __future__ import annotations

import re

import re2
from hypothesis import given, strategies as st

from dragoman import proto
from dragoman.envoy import scoping, shape
from dragoman.proto.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from dragoman.proto.envoy.extensions.http.early_header_mutation.header_mutation import v3 as early

LABELS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=12)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
LONGEST = f"[{':'.join(['ffff'] * 8)}]:65535/{'.'.join(['x' * 61] * 4)}"


def by_patterns(host: str) -> int:
    """As the expression goes through its tree."""
    odd = [bit for bit in range(scoping.BITS) if not re.search(scoping.even_pattern(bit), host)]
    return sum(1 << bit for bit in odd)


@given(NAMES, st.randoms(use_true_random=False), st.sampled_from(["", ":80", ":8080", ":"]))
def test_case_and_port_play_no_part(name, chance, port) -> None:  # type: ignore[no-untyped-def]
    host = "".join(letter.upper() if chance.random() < 0.5 else letter for letter in name) + port
    assert by_patterns(host) == scoping.fold(name) == scoping.fold(name.upper())


def test_a_fold_is_always_one() -> None:
    for host in ("", "[::1]", "[::1]:80", "ä.example", "#3", "127.0.0.1:80#3", "*", "x y"):
        assert 0 <= by_patterns(host) < scoping.FOLDS


def test_folds_are_stable() -> None:
    """Replicas must agree, and so must versions: a change of these moves every host to another scope."""
    assert [scoping.fold(name) for name in ("shop.example", "a.test", "r1.example.com")] == [164, 199, 76]


def test_hosts_are_spread() -> None:
    folds = [scoping.fold(f"r{number}.example.com") for number in range(10_000)]
    assert len(set(folds)) == scoping.FOLDS
    counts = [folds.count(number) for number in range(scoping.FOLDS)]
    assert sum(count * count for count in counts) / sum(counts) < 70


def test_what_envoy_takes() -> None:
    """Patterns of at most 100 instructions, header values of at most 16 KB."""
    for bit in range(scoping.BITS):
        assert re2.compile(scoping.even_pattern(bit)).programsize <= 100
    manager = hcm.HttpConnectionManager()
    scoping.write(manager, LONGEST)
    (entry,) = manager.early_header_mutation_extensions
    (change,) = early.HeaderMutation.FromString(entry.typed_config.value).mutations
    assert len(change.append.header.value.encode()) <= 16_384
    assert proto.serialize(manager)


def test_wildcards_are_apart() -> None:
    assert shape.bucket("*") == shape.bucket("*.a.test") == shape.WILDCARDS
    assert shape.bucket("a.test") == scoping.fold("a.test")
