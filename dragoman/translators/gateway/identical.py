"""What was made of a part of an object, known by the very part.

Equal parts of what people write are one object (`validation.share`), so that their translations can be one as
well, and a look at the address tells: comparing would cost more than to translate again. Called where rules
of routes are translated.
"""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar

V = TypeVar("V")

_KEPT: Final = 2048


class Translations(Generic[V]):
    """From parts, which are kept so that no other can come to the same address, to what was made of them."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, V]] = {}

    def of(self, part: Any) -> V | None:
        found = self._known.get(id(part))
        return found[1] if found is not None else None

    def keep(self, part: Any, made: V) -> V:
        """Returns `made`."""
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[id(part)] = part, made
        return made
