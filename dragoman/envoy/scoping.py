"""Which scope of a route table a request falls into, where tables are cut into scopes (`shape.py`).

Envoy finds a scope by one look-up: the key must equal a header's value; there is no wildcard, no second try
and no folding of case. One scope per host name would leave wildcards, capitals and unknown hosts without
one. So a table has 256 scopes, and the host name's *fold* says which: a number made of the letters in it
whatever their case, 8 bits, of which each is the parity of how often some letters occur. That can be said
as regular expressions, so the connection manager finds it with two CEL expressions (one for each hexadecimal
digit) that never change, and
writes the key into a header before it looks for a route, over whatever a client put there. Within a scope
Envoy's own rules of host names decide; wildcards are in all of them.

Anagrams share a fold, so more bits would not spread numbered hosts any further: of 10,000 a host has 66 with
it on average, at best it would be 39.
Called by `shape`, `connection_manager` and `inner`.
"""

from __future__ import annotations

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

BITS: Final = 8
FOLDS: Final = 1 << BITS

_DIGITS: Final = (62, 129, 25, 184, 247, 63, 21, 202, 214, 222)
"""The numbers of 0 to 9, chosen by trial: names that differ in a number alone are spread evenly."""

_LETTERS: Final = "etaoinsrhldcumfpgwybvkjxqz-._"
"""What else host names are made of, roughly by frequency: the first ones change one bit each."""


def fold(domain: str) -> int:
    """The fold of a host name, whatever its case."""
    codes = _codes()
    number = 0
    for letter in domain.lower():
        number ^= codes.get(letter, 0)
    return number


def name(table: str, number: int) -> str:
    """The name of one scope of a table, which is its key as well. No table's name has a `#` in it."""
    return f"{table}#{number:02x}"


def write(manager: hcm.HttpConnectionManager, table: str) -> None:
    """Makes a connection manager look for its routes in the scopes of `table`. To be merged with the
    rest: its header change comes after those that are there."""
    manager.scoped_routes.name = table
    fragment = manager.scoped_routes.scope_key_builder.fragments.add()
    fragment.header_value_extractor.name = HEADER
    fragment.header_value_extractor.index = 0
    sources.write_ads(manager.scoped_routes.rds_config_source)
    sources.write_ads(manager.scoped_routes.scoped_rds.scoped_rds_config_source)
    config = early.HeaderMutation()
    option = config.mutations.add().append
    option.header.key = HEADER
    option.header.value = f"{table}#%CEL({_digit(4)})%%CEL({_digit(0)})%"
    option.append_action = core.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    entry = manager.early_header_mutation_extensions.add()
    entry.name = "envoy.http.early_header_mutation.header_mutation"
    entry.typed_config.CopyFrom(proto.pack_any(config))


@functools.cache
def _digit(first: int, bit: int = 0, number: int = 0) -> str:
    """Four bits, from `first` on, as one hexadecimal digit."""
    if bit == 4:
        return f"'{number:x}'"
    even, odd = _digit(first, bit + 1, number), _digit(first, bit + 1, number | 1 << bit)
    return f"(request.host.matches('{even_pattern(first + bit)}') ? {even} : {odd})"


@functools.cache
def _codes() -> dict[str, int]:
    """A number of 8 bits for each letter of host names, all of them different, with few bits set: Envoy takes
    16 KB of expression, and no pattern that compiles to more than 100 instructions."""
    codes = {str(digit): number for digit, number in enumerate(_DIGITS)}
    others = (number for number in range(1, FOLDS) if number not in _DIGITS)
    numbers = sorted(others, key=lambda number: (number.bit_count(), number * 37 % FOLDS))
    return codes | dict(zip(_LETTERS, numbers, strict=False))


@functools.cache
def even_pattern(bit: int) -> str:
    """Matches hosts in which the letters whose number has this bit come an even number of times. What
    follows a colon (the port) does not count; what no host name has in it never matches."""
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
