"""Scope keys: what Envoy's expression makes of a Host header is the fold of the host name."""

from __future__ import annotations

import re

import pytest
import re2
from hypothesis import given, strategies as st

from dragoman import proto
from dragoman.envoy import scoping, shape
from dragoman.envoy.scoping import Cut
from dragoman.proto.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from dragoman.proto.envoy.extensions.http.early_header_mutation.header_mutation import v3 as early

LABELS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=12)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
CUTS = pytest.mark.parametrize("cut", [Cut.COARSE, Cut.FINE])
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
    assert [scoping.fold(name) for name in ("shop.example", "a.test", "r1.example.com")] == [164, 455, 332]
    assert scoping.name("t", Cut.COARSE, 164) == "t#a4"
    assert scoping.name("t", Cut.FINE, 455) == "t##e7"


@pytest.mark.parametrize(("cut", "used", "together"), [(Cut.COARSE, 256, 67), (Cut.FINE, 900, 21)])
def test_hosts_are_spread(cut: Cut, used: int, together: int) -> None:
    folds = [scoping.fold(f"r{number}.example.com") for number in range(10_000)]
    scopes = [sum(folds.count(fold) for fold in scoping.folds(cut, number)) for number in cut.numbers]
    assert sum(scopes) == 10_000
    assert sum(map(bool, scopes)) >= used
    assert sum(count * count for count in scopes) / 10_000 < together


@CUTS
def test_each_fold_is_in_one_scope(cut: Cut) -> None:
    held = [fold for number in cut.numbers for fold in scoping.folds(cut, number)]
    assert sorted(held) == list(range(scoping.FOLDS))


@CUTS
def test_names_are_read_back(cut: Cut) -> None:
    table = "127.0.0.1:8443/*.shop.example"
    names = [scoping.name(table, cut, number) for number in cut.numbers]
    assert [scoping.within(name) for name in names] == [(table, cut, number) for number in cut.numbers]


def test_names_of_both_cuts_differ() -> None:
    assert not shape.scopes("t", Cut.COARSE) & shape.scopes("t", Cut.FINE)
    assert not shape.scopes("t", Cut.WHOLE)


@CUTS
def test_what_envoy_takes(cut: Cut) -> None:
    """Patterns of at most 100 instructions, header values of at most 16 KB."""
    for bit in range(scoping.BITS):
        assert re2.compile(scoping.even_pattern(bit)).programsize <= 100
    manager = hcm.HttpConnectionManager()
    scoping.write(manager, LONGEST, cut)
    (entry,) = manager.early_header_mutation_extensions
    (change,) = early.HeaderMutation.FromString(entry.typed_config.value).mutations
    assert len(change.append.header.value.encode()) <= 16_384
    assert proto.serialize(manager)


def test_wildcards_are_apart() -> None:
    assert shape.bucket("*") == shape.bucket("*.a.test") == shape.WILDCARDS
    assert shape.bucket("a.test") == scoping.fold("a.test")
