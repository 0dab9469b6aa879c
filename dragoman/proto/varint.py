"""Numbers as protobuf writes them: base 128, the least significant group first. For those who write or read
messages byte by byte, because building or parsing them would cost too much or is not possible.
"""

from __future__ import annotations


def write(number: int) -> bytes:
    """`number`, which is not negative."""
    if number < 0x80:
        return bytes((number,))
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins at a position, and the position behind it. Raises `IndexError` where the data
    ends within it, `ValueError` where it has more than 64 bits."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
        if shift > 63:
            raise ValueError("a number that does not end")
