"""Which scope of a route table a request falls into, where tables are cut into scopes (`shape.py`).

Envoy finds a scope by one look-up: the key must equal a header's value; there is no wildcard, no second try
and no folding of case. One scope per host name would leave wildcards, capitals and unknown hosts without
one. So the host name's *fold* says which: a number made of the letters in it whatever their case. That can
be said as regular expressions, so the connection manager finds it with two CEL expressions (one for each
digit of the key) that never change, and writes the key into a header before it looks for a route, over
whatever a client put there. Within a scope Envoy's own rules of host names decide; wildcards are in all of
them.

8 bits of the fold are the parities of how often some letters occur; tables are cut into 256 scopes by these.
Anagrams share them: of 10,000 numbered hosts a host has 66 with it. So two more bits are of the last
letter of the first label, and large tables are cut by all ten: it has 20.
Called by `shape`, `connection_manager` and `inner`.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterable
from typing import Final

from dragoman import proto
from dragoman.envoy import sources
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from dragoman.proto.envoy.extensions.http.early_header_mutation.header_mutation import v3 as early

HEADER: Final = "x-dragoman-scope"
"""Carries the key from the connection manager to the look-up; backends do not get to see it."""

_ANAGRAM_BITS: Final = 8
BITS: Final = 10
FOLDS: Final = 1 << BITS


class Cut(enum.IntEnum):
    """Into how many scopes a table is cut: the bits of the fold that tell."""

    WHOLE = 0
    COARSE = _ANAGRAM_BITS
    FINE = BITS

    @property
    def numbers(self) -> range:
        """The numbers of the scopes."""
        return range(1 << self if self else 0)

    @property
    def mark(self) -> str:
        """Tells apart what is named after the same table. No table's name has a `#` in it."""
        return _MARKS[self]


_MARKS: Final = {Cut.WHOLE: "", Cut.COARSE: "#", Cut.FINE: "##"}

_KEY_DIGITS: Final = "0123456789abcdefghijklmnopqrstuv"
"""A digit of a key is 4 or 5 bits."""

_DIGITS: Final = (62, 129, 25, 184, 247, 63, 21, 202, 214, 222)
"""The numbers of 0 to 9, chosen by trial: names that differ in a number alone are spread evenly."""

_LETTERS: Final = "etaoinsrhldcumfpgwybvkjxqz-._"
"""What else host names are made of, roughly by frequency: the first ones change one bit each."""


def fold(domain: str) -> int:
    """The fold of a host name, whatever its case."""
    codes = _codes()
    number = 0
    name = domain.lower()
    for letter in name:
        number ^= codes.get(letter, 0)
    last = name.partition(".")[0][-1:]
    return number | (ord(last) & 3) << _ANAGRAM_BITS if last else number


def folds(cut: Cut, number: int) -> range:
    """Of which folds a scope has the hosts."""
    return range(number, FOLDS, 1 << cut)


def name(table: str, cut: Cut, number: int) -> str:
    """The name of one scope of a table, which is its key as well."""
    half = cut // 2
    return f"{table}{cut.mark}{_KEY_DIGITS[number >> half]}{_KEY_DIGITS[number & (1 << half) - 1]}"


def within(name: str) -> tuple[str, Cut, int]:
    """Of which table a scope is, how that is cut, and the scope's number."""
    marked, high, low = name[:-2], name[-2], name[-1]
    cut = Cut.FINE if marked.endswith(Cut.FINE.mark) else Cut.COARSE
    number = _KEY_DIGITS.index(high) << cut // 2 | _KEY_DIGITS.index(low)
    return marked.removesuffix(cut.mark), cut, number


def write(manager: hcm.HttpConnectionManager, table: str, cut: Cut) -> None:
    """Makes a connection manager look for its routes in the scopes of `table`. To be merged with the
    rest: its header change comes after those that are there."""
    half = cut // 2
    manager.scoped_routes.name = table
    fragment = manager.scoped_routes.scope_key_builder.fragments.add()
    fragment.header_value_extractor.name = HEADER
    fragment.header_value_extractor.index = 0
    sources.write_ads(manager.scoped_routes.rds_config_source)
    sources.write_ads(manager.scoped_routes.scoped_rds.scoped_rds_config_source)
    config = early.HeaderMutation()
    option = config.mutations.add().append
    option.header.key = HEADER
    option.header.value = f"{table}{cut.mark}%CEL({_digit(half, half)})%%CEL({_digit(0, half)})%"
    option.append_action = core.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    entry = manager.early_header_mutation_extensions.add()
    entry.name = "envoy.http.early_header_mutation.header_mutation"
    entry.typed_config.CopyFrom(proto.pack_any(config))


@functools.cache
def _digit(first: int, bits: int, number: int = 0, bit: int = 0) -> str:
    """So many bits, from `first` on, as one digit."""
    if bit == bits:
        return f"'{_KEY_DIGITS[number]}'"
    even, odd = _digit(first, bits, number, bit + 1), _digit(first, bits, number | 1 << bit, bit + 1)
    return f"(request.host.matches('{even_pattern(first + bit)}') ? {even} : {odd})"


@functools.cache
def _codes() -> dict[str, int]:
    """A number of 8 bits for each letter of host names, all of them different, with few bits set: Envoy takes
    16 KB of expression, and no pattern that compiles to more than 100 instructions."""
    codes = {str(digit): number for digit, number in enumerate(_DIGITS)}
    others = (number for number in range(1, 1 << _ANAGRAM_BITS) if number not in _DIGITS)
    numbers = sorted(others, key=lambda number: (number.bit_count(), number * 37 % 256))
    return codes | dict(zip(_LETTERS, numbers, strict=False))


@functools.cache
def even_pattern(bit: int) -> str:
    """Matches hosts whose fold does not have this bit: the letters whose number has it come an even number of
    times, or the last letter of the first label does not have it. What follows a colon (the port) does not
    count; what no host name has in it never matches."""
    if bit >= _ANAGRAM_BITS:
        last = {letter for letter in _codes() if not ord(letter) >> bit - _ANAGRAM_BITS & 1} - {"."}
        return f"(?i)^[{_class(set(_codes()) - {'.'})}]*[{_class(last)}]([.:]|$)"
    counted = {letter for letter, code in _codes().items() if code >> bit & 1}
    yes, no = _class(counted), _class(set(_codes()) - counted)
    return f"(?i)^([{no}]|[{yes}][{no}]*[{yes}])*(:|$)"


def _class(letters: Iterable[str]) -> str:
    """What stands in a class of characters. The hyphen comes last, where it means itself."""
    numbers = sorted(map(ord, letters), key=lambda number: (number == ord("-"), number))
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1 and chr(number) != "-":
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return "".join(
        chr(low) if low == high else chr(low) + "-" * (high - low > 1) + chr(high) for low, high in ranges
    )
