"""What a source is: something that yields documents, first all of them, then what changes.

A source knows where documents stand and nothing of what they mean. A broken file never removes what it held
before: the source keeps the documents of its last good form and reports the error beside them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Protocol

from dragoman.diagnostics import Diagnostic
from dragoman.document import Document
from dragoman.refs import Ref


@dataclass(frozen=True, slots=True)
class Update:
    """What changed in a source. `diagnostics` replaces all that the source reported before.

    An upsert whose document says the same as before may be left out or not; the graph sees the difference.
    """

    upserts: tuple[Document, ...] = ()
    deletes: tuple[Ref, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()


class Source(Protocol):
    """Files now, Kubernetes later."""

    def pieces(self) -> Iterator[Update]:
        """Everything there is, as `load` has it, in parts: whoever takes each in before asking for the next
        one never has all of it as plain data. What is wrong comes with the last part. To be used once, at the
        beginning; raises as `load` does."""

    def load(self) -> Update:
        """Everything there is, now. Raises `OSError` only where a named path does not exist at all."""

    def watch(self) -> AsyncIterator[Update]:
        """What changes after `load`, within milliseconds; the first event of a quiet time is not
        delayed."""
