"""`Document`: what a source yields and a translator decodes. Plain data, and where it stands.

Sources and translators never import one another; what passes between them stands below both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from dragoman.diagnostics import Span
from dragoman.refs import FieldPath, Ref


class Locator(Protocol):
    """Finds the text behind a field of one document. Small to keep, computed on demand."""

    @property
    def file(self) -> str: ...

    @property
    def line(self) -> int: ...

    def locate(self, path: FieldPath) -> Span | None:
        """The span of the field's value; of the nearest ancestor where the field is not there."""

    def locate_key(self, path: FieldPath) -> Span | None:
        """The span of the field's key (for unknown fields)."""


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data and where it stands. `body` is JSON-like; the decoder reads it once and drops it."""

    ref: Ref
    body: Mapping[str, Any]
    locator: Locator | None = field(default=None, compare=False, repr=False)
