"""Which shard of a filter's configuration a text belongs to: XXH64 (the xxHash specification) modulo `COUNT`.

A hundred thousand keys in one configuration cost Envoy half a second of its main thread for each that
changes, and once more for each connection manager. So they are spread over shards, each a resource of its
own. Envoy finds the shard by the same function (its matcher `consistent_hashing`), which is why it is this
one.
"""

from __future__ import annotations

import functools
from typing import Final

COUNT: Final = 8
"""Every connection manager pays 5 KB for each, used or not."""

_MASK: Final = (1 << 64) - 1
_P1: Final = 0x9E3779B185EBCA87
_P2: Final = 0xC2B2AE3D27D4EB4F
_P3: Final = 0x165667B19E3779F9
_P4: Final = 0x85EBCA77C2B2AE63
_P5: Final = 0x27D4EB2F165667C5


@functools.lru_cache(maxsize=1 << 18)
def of(text: str) -> int:
    """The shard of `text`, from 0."""
    return xxh64(text.encode()) % COUNT


def xxh64(data: bytes) -> int:
    """The hash of `data` with seed 0."""
    end, at = len(data), 0
    if end >= 32:
        lanes = [(_P1 + _P2) & _MASK, _P2, 0, -_P1 & _MASK]
        while at <= end - 32:
            for lane in range(4):
                lanes[lane] = _round(lanes[lane], _word(data, at, 8))
                at += 8
        found = sum(_turn(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True)) & _MASK
        for lane in lanes:
            found = ((found ^ _round(0, lane)) * _P1 + _P4) & _MASK
    else:
        found = _P5
    found = (found + end) & _MASK
    while at + 8 <= end:
        found = (_turn(found ^ _round(0, _word(data, at, 8)), 27) * _P1 + _P4) & _MASK
        at += 8
    if at + 4 <= end:
        found = (_turn(found ^ (_word(data, at, 4) * _P1 & _MASK), 23) * _P2 + _P3) & _MASK
        at += 4
    for byte in data[at:]:
        found = _turn(found ^ (byte * _P5 & _MASK), 11) * _P1 & _MASK
    for shift, factor in ((33, _P2), (29, _P3)):
        found = ((found ^ found >> shift) * factor) & _MASK
    return found ^ found >> 32


def _word(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _turn(value: int, by: int) -> int:
    return (value << by | value >> 64 - by) & _MASK


def _round(lane: int, word: int) -> int:
    return _turn((lane + word * _P2) & _MASK, 31) * _P1 & _MASK
