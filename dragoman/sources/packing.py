"""The texts of files while nobody asks for them: packed, at a tenth of their size or less.

A text is kept because a diagnostic may have to show a line of it, and because a changed file is compared with
what it was, document by document. Files resemble one another, so each is packed with a sample of others at
hand (a dictionary of zlib): 10 us for a file of a kilobyte, 2 us to have it back. `holdings` packs what it
reads; `locate` and `holdings` ask for documents of it.
"""

from __future__ import annotations

import functools
import zlib
from typing import Final

from dragoman.sources import yamldoc

_SAMPLE: Final = 1 << 12
"""Characters of other texts at hand."""
_WINDOW: Final = -13
"""Bytes that the packer looks back, as a power of two; without a header."""
_MEMORY: Final = 5
_POOR: Final = 3
"""A text that is packed to more than this part of its size is unlike the sample."""
_SAMPLES: Final = 16
"""Samples that are made at most."""
_SECRET: Final = ("ecret", "kty")
"""What a text has in it that is no sample for others: it would be kept when it is gone."""


class Texts:
    """The documents of a file, by number, in the order of `yamldoc.split`."""

    __slots__ = ("_packed", "_sample")

    def __init__(self, packed: bytes, sample: bytes) -> None:
        self._packed = packed
        self._sample = sample

    def __getitem__(self, number: int) -> str:
        return _unpacked(self)[number]

    def unpack(self) -> list[str]:
        machine = zlib.decompressobj(_WINDOW, zdict=self._sample)
        text = (machine.decompress(self._packed) + machine.flush()).decode("utf-8", "surrogatepass")
        return [chunk.text for chunk in yamldoc.split(text)]


@functools.lru_cache(maxsize=2)
def _unpacked(texts: Texts) -> list[str]:
    """The documents of one file are asked for in a row."""
    return texts.unpack()


class Kept:
    """A document's text, as it is or packed with its file's others."""

    __slots__ = ("_number", "_source")

    def __init__(self, text: str) -> None:
        self._source: str | Texts = text
        self._number = 0

    @property
    def text(self) -> str:
        source = self._source
        return source if type(source) is str else source[self._number]

    def pack(self, texts: Texts, number: int) -> None:
        """From now on it is the one of this number there."""
        self._source = texts
        self._number = number


class Packer:
    """Packs texts, and finds samples among them."""

    def __init__(self) -> None:
        self._sample = b""
        self._samples = 0

    def pack(self, text: str) -> Texts:
        data = text.encode("utf-8", "surrogatepass")
        packed = self._packed(data)
        poor = len(packed) * _POOR > len(data) and self._samples < _SAMPLES
        if poor and not any(word in text for word in _SECRET):
            self._samples += 1
            self._sample = (self._sample + data)[-_SAMPLE:]
            packed = self._packed(data)
        return Texts(packed, self._sample)

    def _packed(self, data: bytes) -> bytes:
        machine = zlib.compressobj(1, zlib.DEFLATED, _WINDOW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, self._sample)
        return machine.compress(data) + machine.flush()
