"""Decoding of HPACK's Huffman code (RFC 7541 section 5.2 and appendix B).

The code is canonical: the lengths of appendix B, sorted by length and symbol, give every code. It is decoded
a byte at a time by a machine whose states are the places inside a code; its transitions are worked out when
they are first needed, so that what requests really contain costs one look-up per byte. `hpack` calls it.
"""

from __future__ import annotations

from typing import Final

_END: Final = 256  # the EOS symbol

# Bits of a code -> the symbols with such a code.
_SYMBOLS: Final[tuple[tuple[int, bytes], ...]] = (
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b'!"()?'),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\x00$@[]~"),
    (14, b"^}"),
    (15, b"<`{"),
    (19, bytes.fromhex("5cc3d0")),
    (20, bytes.fromhex("808283a2b8c2e0e2")),
    (21, bytes.fromhex("99a1a7acb0b1b3d1d8d9e3e5e6")),
    (22, bytes.fromhex("818485868892 9a9ca0a3a4a9aaadb2b5b9babbbdbec4c6e4e8e9")),
    (23, bytes.fromhex("0187898a8b8c8d8f939596 97989b9d9ea5a6a8aeafb4b6b7bcbfc5e7ef")),
    (24, bytes.fromhex("098e9091949fabced7e1eced")),
    (25, bytes.fromhex("c7cfeaeb")),
    (26, bytes.fromhex("c0c1c8c9cacdd2d5dadbeef0f2f3ff")),
    (27, bytes.fromhex("cbccd3d4d6dddedff1f4f5f6f7f8fafbfcfdfe")),
    (28, bytes.fromhex("02030405060708 0b0c0e0f1011121314151718191a1b1c1d1e1f7fdcf9")),
    (30, bytes.fromhex("0a0d16")),
)


def _codes() -> dict[tuple[int, int], int]:
    """(bits, code) -> symbol."""
    found: dict[tuple[int, int], int] = {}
    code, before = 0, 0
    for bits, symbols in _SYMBOLS:
        for symbol in (*symbols, _END) if bits == 30 else symbols:
            code <<= bits - before
            before = bits
            found[bits, code] = symbol
            code += 1
    return found


_CODES: Final = _codes()

# A state is the bits read of an unfinished code, with a 1 in front: 1 is "between codes". At most 29 bits are
# unfinished, and only prefixes of codes are ever states, so there are 256 of them.
_START: Final = 1
_BROKEN: Final = 0
_steps: dict[int, dict[int, tuple[int, bytes]]] = {}

# Section 5.2: padding is the most significant bits of EOS (ones), fewer than 8.
_COMPLETE: Final = frozenset((1 << bits) | ((1 << bits) - 1) for bits in range(8))


def decode(data: bytes) -> bytes | None:
    """The string; None if `data` is no such code, contains EOS, or is padded wrongly."""
    state = _START
    out = bytearray()
    for byte in data:
        try:
            state, emitted = _steps[state][byte]
        except KeyError:
            state, emitted = _learn(state, byte)
        if state == _BROKEN:
            return None
        out += emitted
    return bytes(out) if state in _COMPLETE else None


def _learn(state: int, byte: int) -> tuple[int, bytes]:
    """The transition of `state` on `byte`, kept for the next time."""
    bits = state.bit_length() - 1
    code = state - (1 << bits)
    emitted = bytearray()
    for shift in range(7, -1, -1):
        code = code << 1 | byte >> shift & 1
        bits += 1
        symbol = _CODES.get((bits, code))
        if symbol is not None:
            if symbol == _END:
                step = (_BROKEN, b"")
                break
            emitted.append(symbol)
            code = bits = 0
    else:
        step = ((1 << bits) | code, bytes(emitted))
    _steps.setdefault(state, {})[byte] = step
    return step
