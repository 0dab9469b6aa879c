"""What a set of texts holds: which objects, where each stands, which of two namesakes counts.

Pure state, no I/O: `files` puts texts in by name and takes `Update`s out. Inside a text documents are
compared as text, so that of ten thousand only the edited one is parsed again. A document that cannot be
read keeps the objects that its file held before and that the rest of the file does not name: their last
good form. Of an object that stands twice the first counts (by file name, then by line), and when the first
goes the second takes its place.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from dragoman.diagnostics import Diagnostic, Severity, Span
from dragoman.document import Document
from dragoman.refs import FieldPath, Ref
from dragoman.sources import base, locate, objects, packing, yamldoc

_LOOSE = 256
"""Texts that are kept as they are after a change."""
_NAMED = 3
"""How many objects a note names before it counts the others."""


class _Entry(locate.TextLocator):
    """An object in a text, its locator, and the document that holds it alone (see `_Piece`): most do, and
    there is one for every object.
    """

    __slots__ = ("kept", "ref")

    problems: ClassVar[tuple[yamldoc.Problem, ...]] = ()

    def __init__(self, ref: Ref, file: str, start: int, text: str, prefix: FieldPath) -> None:
        super().__init__(file, start, text, prefix)
        self.ref = ref
        self.kept = False
        """Its text is gone or broken; this is the last good form."""

    @property
    def rank(self) -> tuple[bool, str, int, FieldPath]:
        """Smaller comes first, and the first counts."""
        return self.kept, self.file, self.start, self.prefix

    @property
    def entries(self) -> tuple[_Entry, ...]:
        return (self,)

    def move(self, line: int) -> None:
        self.start = line


class _Piece(packing.Kept):
    """One document of a text: the objects in it and what is wrong with it. `start` is the line in which it
    begins.
    """

    __slots__ = ("entries", "problems", "start")

    def __init__(
        self,
        chunk: yamldoc.Chunk,
        entries: tuple[_Entry, ...] = (),
        problems: tuple[yamldoc.Problem, ...] = (),
    ) -> None:
        super().__init__(chunk.text)
        self.start = chunk.line
        self.entries = entries
        self.problems = problems

    def move(self, line: int) -> None:
        self.start = line
        for entry in self.entries:
            entry.start = line


class _Text:
    """A file's documents, and what is kept of earlier ones."""

    __slots__ = ("failure", "kept", "pieces")

    def __init__(self) -> None:
        self.pieces: tuple[_Piece | _Entry, ...] = ()
        self.kept: tuple[_Entry, ...] = ()
        self.failure: Diagnostic | None = None

    def entries(self) -> Iterable[_Entry]:
        for piece in self.pieces:
            yield from piece.entries
        yield from self.kept


class Holdings:
    """`put`, `fail` and `remove` texts, then `flush` what that changed."""

    def __init__(self, cluster_scoped: frozenset[tuple[str, str]] = objects.CLUSTER_SCOPED) -> None:
        self._cluster_scoped = cluster_scoped
        self._texts: dict[str, _Text] = {}
        self._faulty: dict[str, None] = {}
        self._owners: dict[Ref, _Entry] = {}
        self._others: dict[Ref, list[_Entry]] = {}
        self._touched: dict[Ref, _Entry | None] = {}
        self._bodies: dict[_Entry, Mapping[str, Any]] = {}
        self._reported: tuple[Diagnostic, ...] = ()
        self._packer = packing.Packer()
        self._loose: dict[str, str] = {}
        """Texts that were put in lately, the oldest first: whoever edits a file once does so again."""

    def __contains__(self, name: str) -> bool:
        return name in self._texts

    def names(self) -> list[str]:
        return list(self._texts)

    def put(self, name: str, text: str, *, careful: bool = False) -> bool:
        """Takes the present form of a text. `careful`: does nothing and says False if that would lose an
        object.
        """
        if name not in self._texts:
            self._put_first(name, text)
            return True
        old = self._texts[name]
        spare: dict[str, list[_Piece | _Entry]] = {}
        for piece in old.pieces:
            spare.setdefault(piece.text, []).append(piece)
        new = _Text()
        pieces: list[_Piece | _Entry] = []
        fresh: list[_Piece | _Entry] = []
        moves: list[tuple[_Piece | _Entry, int]] = []
        for chunk in yamldoc.split(text):
            if twins := spare.get(chunk.text):
                piece = twins.pop(0)
                moves.append((piece, chunk.line))
            else:
                piece = self._read(name, chunk)
                fresh.append(piece)
            pieces.append(piece)
        new.pieces = tuple(pieces)
        gone = [entry for twins in spare.values() for piece in twins for entry in piece.entries]
        gone += old.kept
        broken = any(piece.problems for piece in pieces)
        if gone and (careful or broken):
            here = {entry.ref for piece in pieces for entry in piece.entries}
            lost = {entry.ref: entry for entry in gone if entry.ref not in here}
            if careful and lost:
                for piece in fresh:
                    for entry in piece.entries:
                        del self._bodies[entry]
                return False
            if broken:
                new.kept = tuple(lost.values())
                gone = [entry for entry in gone if lost.get(entry.ref) is not entry]
        for piece, line in moves:
            piece.move(line)
        self._exchange(gone, [entry for piece in fresh for entry in piece.entries])
        self._keep(name, new, faulty=broken)
        self._loose.pop(name, None)
        self._loose[name] = text
        if len(self._loose) > _LOOSE:
            oldest = next(iter(self._loose))
            self._pack(self._texts[oldest], self._loose.pop(oldest))
        return True

    def _put_first(self, name: str, text: str) -> None:
        """The same for a text of which nothing is held, as when everything is read."""
        new = _Text()
        new.pieces = tuple([self._read(name, chunk) for chunk in yamldoc.split(text)])
        broken = False
        for piece in new.pieces:
            if type(piece) is _Entry:
                self._claim(piece)
                continue
            broken = broken or bool(piece.problems)
            for entry in piece.entries:
                self._claim(entry)
        self._keep(name, new, faulty=broken)
        self._pack(new, text)

    def fail(self, name: str, diagnostic: Diagnostic) -> None:
        """The text cannot be had at all; what it held is kept."""
        self._loose.pop(name, None)
        old = self._texts.get(name) or _Text()
        new = _Text()
        kept = {entry.ref: entry for entry in old.entries()}
        new.kept = tuple(kept.values())
        new.failure = diagnostic
        self._exchange([entry for entry in old.entries() if kept[entry.ref] is not entry], [])
        self._keep(name, new, faulty=True)

    def remove(self, name: str) -> None:
        """The text is gone, and what it held with it."""
        self._loose.pop(name, None)
        if (old := self._texts.pop(name, None)) is not None:
            self._exchange(old.entries(), [])
            self._faulty.pop(name, None)

    def locate(self, ref: Ref, path: FieldPath) -> Span | None:
        """`diagnostics.Locate` over what is held."""
        owner = self._owners.get(ref)
        return owner.locate(path) if owner is not None else None

    def part(self) -> base.Update | None:
        """Documents that have changed since the last time, while there is more to come; None for none."""
        upserts, deletes = self._changes()
        return base.Update(upserts, deletes) if upserts or deletes else None

    def flush(self) -> base.Update | None:
        """What has changed since the last time; None for nothing."""
        upserts, deletes = self._changes()
        diagnostics = tuple(self.diagnostics())
        if not upserts and not deletes and diagnostics == self._reported:
            return None
        self._reported = diagnostics
        return base.Update(upserts, deletes, diagnostics)

    def _changes(self) -> tuple[tuple[Document, ...], tuple[Ref, ...]]:
        upserts: list[Document] = []
        deletes: list[Ref] = []
        for ref in self._others:
            self._touch(ref)
        for ref, before in self._touched.items():
            owner = self._elect(ref)
            if owner is None:
                if before is not None:
                    deletes.append(ref)
            elif owner is not before:
                body = self._bodies.get(owner) or self._again(owner)
                upserts.append(Document(ref, body, owner))
        self._touched.clear()
        self._bodies.clear()
        return tuple(upserts), tuple(deletes)

    # Reading

    def _read(self, name: str, chunk: yamldoc.Chunk) -> _Piece | _Entry:
        try:
            data = yamldoc.parse(chunk.text)
        except yamldoc.Invalid as failure:
            return _Piece(chunk, (), failure.problems)
        if data is None:
            return _Piece(chunk)
        found, faults = objects.identify(data, self._cluster_scoped)
        file = shown(name)
        entries = []
        for ref, path, body in found:
            entry = _Entry(ref, file, chunk.line, chunk.text, path)
            self._bodies[entry] = body
            entries.append(entry)
        if len(entries) == 1 and not faults:
            return entries[0]
        return _Piece(chunk, tuple(entries), tuple([_problem(name, chunk, fault) for fault in faults]))

    def _again(self, entry: _Entry) -> Mapping[str, Any]:
        """The body of an object that was read before and had to wait for its namesake to go."""
        data = yamldoc.parse(entry.text)
        found, _ = objects.identify(data, self._cluster_scoped)
        return next(item.body for item in found if item.path == entry.prefix)

    # Who counts

    def _exchange(self, gone: Iterable[_Entry], come: Iterable[_Entry]) -> None:
        for entry in gone:
            self._drop(entry)
        for entry in come:
            self._claim(entry)

    def _keep(self, name: str, text: _Text, *, faulty: bool) -> None:
        for entry in text.kept:
            entry.kept = True
        self._texts[name] = text
        if faulty:
            self._faulty[name] = None
        else:
            self._faulty.pop(name, None)

    def _pack(self, held: _Text, text: str) -> None:
        """From now on what is held of a text is held packed."""
        texts = self._packer.pack(text)
        for number, piece in enumerate(held.pieces):
            piece.pack(texts, number)
            for entry in piece.entries:
                entry.pack(texts, number)

    def _touch(self, ref: Ref) -> None:
        if ref not in self._touched:
            self._touched[ref] = self._owners.get(ref)

    def _claim(self, entry: _Entry) -> None:
        ref = entry.ref
        self._touch(ref)
        if ref in self._owners:
            self._others.setdefault(ref, []).append(entry)
        else:
            self._owners[ref] = entry

    def _drop(self, entry: _Entry) -> None:
        ref = entry.ref
        self._touch(ref)
        others = self._others.get(ref, [])
        if self._owners.get(ref) is not entry:
            others.remove(entry)
        elif others:
            self._owners[ref] = others.pop()
        else:
            del self._owners[ref]
        if not others:
            self._others.pop(ref, None)

    def _elect(self, ref: Ref) -> _Entry | None:
        others = self._others.get(ref)
        if others:
            ranked = sorted([self._owners[ref], *others], key=lambda entry: entry.rank)
            self._owners[ref], self._others[ref] = ranked[0], ranked[1:]
        return self._owners.get(ref)

    # What is wrong

    def diagnostics(self) -> list[Diagnostic]:
        """Everything that is wrong at present."""
        out: list[Diagnostic] = []
        for name in sorted(self._faulty):
            text = self._texts[name]
            notes = _kept_note(text.kept)
            if text.failure is not None:
                out.append(_noted(text.failure, notes))
            for piece in text.pieces:
                found = [_diagnostic(name, piece, problem) for problem in piece.problems]
                if found:
                    out += [_noted(found[0], notes), *found[1:]]
                    notes = ()
        for ref, others in sorted(self._others.items()):
            for entry in others:
                if not entry.kept:
                    out.append(_duplicate(ref, self._owners[ref], entry))
        return out


def unreadable(name: str, failure: OSError) -> Diagnostic:
    """A file or folder that the system does not hand out."""
    reason = (failure.strerror or type(failure).__name__).lower()
    return Diagnostic("DRG1002", f"cannot be read: {reason}", span=Span(shown(name), 0))


def undecodable(name: str, problem: yamldoc.Problem) -> Diagnostic:
    """A file that is no text."""
    span = Span(shown(name), problem.line, problem.column, problem.end)
    return Diagnostic(problem.code, problem.message, help=problem.help, span=span)


def shown(name: str) -> str:
    """A file's name as text; what is not UTF-8 in it becomes U+FFFD, or no report could be written."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "replace")


def _problem(name: str, chunk: yamldoc.Chunk, fault: objects.Fault) -> yamldoc.Problem:
    span = locate.TextLocator(name, 1, chunk.text).locate(fault.path)
    line, column, end = (span.line, span.column, span.end_column) if span else (1, 1, 0)
    return yamldoc.Problem(fault.message, line, column, end, None, fault.help, fault.code, fault.label)


def _diagnostic(name: str, piece: _Piece | _Entry, problem: yamldoc.Problem) -> Diagnostic:
    line = piece.start + problem.line - 1
    text = locate.broken_line(piece.text, problem.line)
    notes: tuple[str, ...] = ()
    if problem.related is not None:
        what, where = problem.related
        notes = (f"{what} in line {piece.start + where - 1}",)
    span = Span(shown(name), line, problem.column, problem.end, text)
    return Diagnostic(
        problem.code, problem.message, label=problem.label, notes=notes, help=problem.help, span=span
    )


def _duplicate(ref: Ref, first: _Entry, second: _Entry) -> Diagnostic:
    line, column, text = locate.name_line(second, ref.name)
    span = Span(second.file, line, column, column + len(ref.name) if column > 1 else 0, text)
    where = locate.name_line(first, ref.name)[0]
    return Diagnostic(
        "DRG1006",
        f"{ref} stands here again and is not used",
        ref,
        ("metadata", "name"),
        notes=(f"it stands first in {first.file}:{where}, and that one counts",),
        help="remove one of the two, or give it another name or namespace",
        span=span,
    )


def _kept_note(kept: tuple[_Entry, ...]) -> tuple[str, ...]:
    if not kept:
        return ()
    named = ", ".join(str(entry.ref) for entry in kept[:_NAMED])
    more = f" and {len(kept) - _NAMED} more" if len(kept) > _NAMED else ""
    return (f"the last good form stays in use: {named}{more}",)


def _noted(diagnostic: Diagnostic, notes: tuple[str, ...]) -> Diagnostic:
    return replace(diagnostic, notes=(*diagnostic.notes, *notes))


def unnoticed(reason: str) -> Diagnostic:
    """The system gives no notice of changes; `reason` in its own words."""
    limits = "raise fs.inotify.max_user_instances or fs.inotify.max_user_watches (sysctl)"
    above = "let Dragoman read the folders in which the paths that were named stand"
    return Diagnostic(
        "DRG1008",
        f"the system gives no notice of changes ({reason}); folders are looked at every second",
        severity=Severity.WARNING,
        help=above if reason == os.strerror(errno.EACCES).lower() else limits,
        span=Span("inotify", 0),
    )
