"""The intake: documents in, typed objects into the graph's sources, last good forms kept.

It is the one stateful step before the graph. A document that does not decode leaves the object's last good
form in place and its diagnostics beside it, so that one bad object hurts itself alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from dragoman.diagnostics import Diagnostic, Severity, Span
from dragoman.document import Document, Locator
from dragoman.graph.collection import Graph, Source
from dragoman.refs import FieldPath, Ref
from dragoman.translators import base


class Intake:
    """Owns the source collections. `objects` is what translators build on."""

    def __init__(self, graph: Graph, translators: Sequence[base.Translator]) -> None:
        self._readers: dict[tuple[str, str], base.Translator] = {}
        self._objects: dict[tuple[str, str], Source[Ref, base.AnyObject]] = {}
        self._findings: dict[Ref, tuple[Diagnostic, ...]] = {}
        self._invalid: dict[Ref, tuple[Diagnostic, ...]] = {}
        self._closed: set[Ref] = set()
        """Objects that were never good: what stands for them closes what they were to protect."""
        self._locators: dict[Ref, Locator] = {}
        for translator in translators:
            for kind in translator.kinds:
                self._readers[kind] = translator
                self._objects[kind] = graph.source(kind[1])

    @property
    def objects(self) -> base.Objects:
        return self._objects

    def put(self, document: Document) -> bool:
        """Decodes one document. Returns whether the graph now holds a new form of its object."""
        ref = document.ref
        if document.locator is not None:
            self._locators[ref] = document.locator
        translator = self._readers.get((ref.group, ref.kind))
        if translator is None:
            self._findings[ref] = (self._unread(ref),)
            return False
        decoded = translator.decode(document)
        if decoded.diagnostics:
            self._findings[ref] = decoded.diagnostics
        elif self._findings:
            self._findings.pop(ref, None)
        if decoded.object is None:
            self._invalid[ref] = decoded.diagnostics
            present = self._objects[ref.group, ref.kind].get(ref)
            if decoded.fallback is not None and (present is None or ref in self._closed):
                self._closed.add(ref)
                self._objects[ref.group, ref.kind].put(ref, decoded.fallback)
                return True
            if present is not None and ref not in self._closed:
                self._findings[ref] = tuple(_stale(d) for d in decoded.diagnostics)
            return False
        if self._invalid:
            self._closed.discard(ref)
            self._invalid.pop(ref, None)
        self._objects[ref.group, ref.kind].put(ref, decoded.object)
        return True

    def remove(self, ref: Ref) -> None:
        self._findings.pop(ref, None)
        self._invalid.pop(ref, None)
        self._closed.discard(ref)
        self._locators.pop(ref, None)
        source = self._objects.get((ref.group, ref.kind))
        if source is not None:
            source.remove(ref)

    def get(self, ref: Ref) -> base.AnyObject | None:
        source = self._objects.get((ref.group, ref.kind))
        return source.get(ref) if source is not None else None

    def knows(self, ref: Ref) -> bool:
        """Whether a document of this object was read, whatever came of it."""
        return ref in self._locators or ref in self._invalid or self.get(ref) is not None

    def refs(self) -> Iterator[Ref]:
        """Every object that the graph holds."""
        for source in self._objects.values():
            yield from source.keys()

    def invalid(self) -> Mapping[Ref, tuple[Diagnostic, ...]]:
        """The objects whose last document did not decode, and why."""
        return self._invalid

    def closed(self, ref: Ref) -> bool:
        """Whether the object was never good and closes what it was to protect."""
        return ref in self._closed

    def diagnostics(self) -> Iterable[Diagnostic]:
        for findings in self._findings.values():
            yield from findings

    def locator(self, ref: Ref) -> Locator | None:
        return self._locators.get(ref)

    def locate(self, ref: Ref, path: FieldPath) -> Span | None:
        """`diagnostics.Locate` over the documents read."""
        locator = self._locators.get(ref)
        return locator.locate(path) if locator is not None else None

    def _unread(self, ref: Ref) -> Diagnostic:
        kinds = [kind for group, kind in self._readers if group == ref.group]
        near = difflib.get_close_matches(ref.kind, kinds, 1)
        ours = bool(kinds) and ref.group != ""
        return Diagnostic(
            "DRG1105",
            f"kind {ref.kind}{f' of {ref.group}' if ref.group else ''} is not read by Dragoman",
            ref,
            ("kind",),
            Severity.WARNING if ours else Severity.INFO,
            help=f"did you mean {near[0]}?" if near else "",
        )


def _stale(diagnostic: Diagnostic) -> Diagnostic:
    note = "the last good form of this object keeps serving"
    if diagnostic.severity < Severity.ERROR or note in diagnostic.notes:
        return diagnostic
    return replace(diagnostic, notes=(*diagnostic.notes, note))
