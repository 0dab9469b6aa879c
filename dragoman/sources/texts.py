"""Whole files as documents, for languages that are not made of objects: `Files(paths, held=Texts())`.

`Files` finds and watches; this holds what it finds. Each file is one document of kind `Text` named by its
path, and its body is its text. What it means is for whoever asked; a file that cannot be read keeps the text
that it had. Called by the rate-limit service for envoyproxy/ratelimit's files.
"""

from __future__ import annotations

from typing import Final

from dragoman.diagnostics import Diagnostic, Span
from dragoman.document import Document
from dragoman.refs import FieldPath, Ref
from dragoman.sources import base, yamlnodes

KIND: Final = "Text"


class Texts:
    """Implements `files.Held`."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._failures: dict[str, Diagnostic] = {}
        self._before: dict[str, str] = {}
        self._reported: tuple[Diagnostic, ...] = ()

    def __contains__(self, name: str) -> bool:
        return name in self._texts or name in self._failures

    def names(self) -> list[str]:
        return list(dict.fromkeys((*self._texts, *self._failures)))

    def put(self, name: str, text: str, *, careful: bool = False) -> bool:
        """`careful` (somebody may be in the middle of writing): not what is empty or no YAML."""
        if careful and not _whole(text):
            return False
        self._texts[name] = text
        self._failures.pop(name, None)
        return True

    def fail(self, name: str, diagnostic: Diagnostic) -> None:
        self._failures[name] = diagnostic

    def remove(self, name: str) -> None:
        self._texts.pop(name, None)
        self._failures.pop(name, None)

    def locate(self, ref: Ref, path: FieldPath) -> Span | None:
        return None

    def diagnostics(self) -> list[Diagnostic]:
        return [self._failures[name] for name in sorted(self._failures)]

    def part(self) -> base.Update | None:
        """Texts are kept as they are: nothing is gained by handing them on early."""
        return None

    def flush(self) -> base.Update | None:
        upserts = [
            Document(ref(name), {"text": text})
            for name, text in self._texts.items()
            if self._before.get(name) != text
        ]
        deletes = [ref(name) for name in self._before.keys() - self._texts.keys()]
        diagnostics = tuple(self.diagnostics())
        if not upserts and not deletes and diagnostics == self._reported:
            return None
        self._before, self._reported = dict(self._texts), diagnostics
        return base.Update(tuple(upserts), tuple(deletes), diagnostics)


def ref(name: str) -> Ref:
    """The identity of a file's document."""
    return Ref("", KIND, "", name)


def _whole(text: str) -> bool:
    try:
        return yamlnodes.compose(text) is not None
    except yamlnodes.Invalid:
        return False
