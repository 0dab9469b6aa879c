"""HPACK decoding (RFC 7541): header blocks of requests to name-value pairs.

Responses need no encoder: their blocks are constants that leave the peer's table alone (`answers`). We tell
peers to use no dynamic table; until they have heard it they may use the default one, so it is all here.

Pure; one `Decoder` per connection, fed every block in order. `connection` calls it when a block is not one it
has seen before.
"""

from __future__ import annotations

from collections import deque
from typing import Final, TypeAlias

from dragoman.ratelimit.transport.http2 import huffman

Pair: TypeAlias = tuple[bytes, bytes]

# Appendix A, from index 1 on.
_STATIC: Final[tuple[Pair, ...]] = (
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    *((b":status", status) for status in (b"200", b"204", b"206", b"304", b"400", b"404", b"500")),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    *(
        (name, b"")
        for name in (
            b"accept-language accept-ranges accept access-control-allow-origin age allow authorization "
            b"cache-control content-disposition content-encoding content-language content-length "
            b"content-location content-range content-type cookie date etag expect expires from host if-match "
            b"if-modified-since if-none-match if-range if-unmodified-since last-modified link location "
            b"max-forwards proxy-authenticate proxy-authorization range referer refresh retry-after server "
            b"set-cookie strict-transport-security transfer-encoding user-agent vary via www-authenticate"
        ).split()
    ),
)
_STATIC_SIZE: Final = len(_STATIC)

DEFAULT_TABLE: Final = 4096
_OVERHEAD: Final = 32  # section 4.1

# Section 5.1 sets no bound; nothing that we take is near this one.
_LARGEST: Final = 1 << 24

# Huffman strings repeat from request to request. Shared by all connections; emptied when it is full.
_strings: dict[bytes, bytes] = {}
_STRINGS: Final = 4096
_STRING: Final = 128


class HpackError(Exception):
    """The block cannot be decoded: a connection error COMPRESSION_ERROR (section 2.2)."""


class Decoder:
    """The decoding context of one connection."""

    __slots__ = ("_entries", "_limit", "_size", "_used")

    def __init__(self) -> None:
        self._limit = DEFAULT_TABLE
        self._size = DEFAULT_TABLE
        self._used = 0
        self._entries: deque[Pair] = deque()

    def forgo(self) -> None:
        """The peer has acknowledged that there is no table. It should say so at the beginning of its next
        block (RFC 9113 section 4.3.1); whether or not it does, entries are gone."""
        self._limit = self._size = 0
        self._evict()

    @property
    def stateless(self) -> bool:
        """What a block means follows from its bytes alone, from now on."""
        return self._limit == 0

    def decode(self, block: bytes, largest: int) -> list[Pair] | None:
        """The pairs in order; None if the list is larger than `largest` bytes (RFC 9113 section 6.5.2), after
        the table is up to date all the same. Raises `HpackError`."""
        pairs: list[Pair] = []
        total = 0
        position, end = 0, len(block)
        first = True
        while position < end:
            byte = block[position]
            if byte & 0x80:  # 6.1: indexed field
                index, position = _integer(block, position, 0x7F)
                pair = self._entry(index)
            elif byte & 0xE0 == 0x20:  # 6.3: size update; only at the beginning (4.2)
                if not first:
                    raise HpackError("a table size update after a field")
                size, position = _integer(block, position, 0x1F)
                if size > self._limit:
                    raise HpackError("a table size update above the limit")
                self._size = size
                self._evict()
                continue
            else:  # 6.2: literal, with (0x40) or without incremental indexing, or never indexed
                keep = byte & 0x40
                if byte & (0x3F if keep else 0x0F):
                    index, position = _integer(block, position, 0x3F if keep else 0x0F)
                    name = self._entry(index)[0]
                else:
                    name, position = _string(block, position + 1)
                value, position = _string(block, position)
                pair = (name, value)
                if keep:
                    self._insert(pair)
            first = False
            if total <= largest:
                total += len(pair[0]) + len(pair[1]) + _OVERHEAD
                pairs.append(pair)
        return pairs if total <= largest else None

    def _entry(self, index: int) -> Pair:
        """Section 2.3.3: one address space, the dynamic entries after the static ones, newest first."""
        if 0 < index <= _STATIC_SIZE:
            return _STATIC[index - 1]
        place = index - _STATIC_SIZE - 1
        if index == 0 or place >= len(self._entries):
            raise HpackError("an index outside the table")
        return self._entries[place]

    def _insert(self, pair: Pair) -> None:
        """Section 4.4."""
        self._used += len(pair[0]) + len(pair[1]) + _OVERHEAD
        self._entries.appendleft(pair)
        self._evict()

    def _evict(self) -> None:
        while self._used > self._size:
            name, value = self._entries.pop()
            self._used -= len(name) + len(value) + _OVERHEAD


def _integer(block: bytes, position: int, mask: int) -> tuple[int, int]:
    """Section 5.1: the value, and the position after it."""
    value = block[position] & mask
    position += 1
    if value < mask:
        return value, position
    shift = 0
    while position < len(block):
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << shift
        if value > _LARGEST or shift > 28:
            raise HpackError("an integer too large")
        if byte < 0x80:
            return value, position
        shift += 7
    raise HpackError("a block that ends in an integer")


def _string(block: bytes, position: int) -> tuple[bytes, int]:
    """Section 5.2: the octets, and the position after them."""
    if position >= len(block):
        raise HpackError("a block that ends before a string")
    coded = block[position]
    length = coded & 0x7F
    if length == 0x7F:
        length, position = _integer(block, position, 0x7F)
    else:
        position += 1
    end = position + length
    raw = block[position:end]
    if len(raw) != length:
        raise HpackError("a block that ends in a string")
    if coded < 0x80:
        return raw, end
    text = _strings.get(raw)
    if text is None:
        text = huffman.decode(raw)
        if text is None:
            raise HpackError("a string that is no Huffman code")
        if length <= _STRING:
            if len(_strings) >= _STRINGS:
                _strings.clear()
            _strings[raw] = text
    return text, end
