"""What a source is: something that yields documents, first all of them, then what changes.

A source knows where documents stand and nothing of what they mean. A broken file never removes what it held
before: the source keeps the documents of its last good form and reports the error beside them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
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

    def load(self) -> Update:
        """Everything there is, now. Raises `OSError` only where a named path does not exist at all."""

    def watch(self) -> AsyncIterator[Update]:
        """What changes after `load`, within milliseconds; the first event of a quiet time is not
        delayed."""
