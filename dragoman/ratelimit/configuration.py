"""All files of a configuration together: which of their rules are in force, and what is wrong.

A file with an error keeps its last good form. Of two files with one domain the first by name counts, unless
they are to be merged (envoyproxy/ratelimit's MERGE_DOMAIN_CONFIG). The service's shell applies what the
source of files reports and loads the table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from dragoman.diagnostics import Diagnostic
from dragoman.ratelimit import goconfig, rules
from dragoman.refs import Ref
from dragoman.sources import base as sources


@dataclasses.dataclass(slots=True)
class Configuration:
    """The files of a source of `sources.texts`. `apply` what it reports, then take `table` and
    `diagnostics`.
    """

    merge_domains: bool = False
    presentation: rules.Presentation = rules.SILENT
    on_error: rules.OnError = rules.OnError.OPEN
    _files: dict[str, goconfig.Read] = dataclasses.field(default_factory=dict)
    _kept: dict[str, goconfig.Read] = dataclasses.field(default_factory=dict)
    """The last good form of files that have an error now."""
    _unreadable: tuple[Diagnostic, ...] = ()

    def apply(self, update: sources.Update) -> None:
        for ref in update.deletes:
            self._files.pop(ref.name, None)
            self._kept.pop(ref.name, None)
        for document in update.upserts:
            self._take(document.ref, document.body)
        self._unreadable = update.diagnostics

    def _take(self, ref: Ref, body: Mapping[str, Any]) -> None:
        name = ref.name
        before = self._files.get(name)
        now = goconfig.read(name, body["text"], self.presentation, self.on_error)
        self._files[name] = now
        if now.good:
            self._kept.pop(name, None)
        elif before is not None and before.good:
            self._kept[name] = before

    def _in_force(self) -> Iterator[tuple[str, goconfig.Read]]:
        for name in sorted(self._files):
            file = self._files[name] if self._files[name].good else self._kept.get(name)
            if file is not None:
                yield name, file

    def table(self) -> rules.Table:
        """The rules of all files that have a good form."""
        out: list[rules.Rule] = []
        taken: set[str] = set()
        for _, file in self._in_force():
            if file.domain not in taken or self.merge_domains:
                taken.add(file.domain)
                out += file.rules
        return rules.Table(out)

    @property
    def domains(self) -> set[str]:
        return {file.domain for _, file in self._in_force()}

    def diagnostics(self) -> list[Diagnostic]:
        """Everything that is wrong at present, by file."""
        out = list(self._unreadable)
        for name in sorted(self._files):
            found = self._files[name].diagnostics
            if name in self._kept:
                notes = (*found[0].notes, "the last good form of the file stays in force")
                found = (dataclasses.replace(found[0], notes=notes), *found[1:])
            out += found
        first: dict[str, str] = {}
        seen: dict[tuple[str, tuple[rules.Match, ...]], str] = {}
        for name, file in self._in_force():
            where = first.setdefault(file.domain, name)
            if where != name and not self.merge_domains:
                out.append(
                    Diagnostic(
                        "DRG1902",
                        f"the domain `{file.domain}` stands here again and is not used",
                        notes=(f"it stands first in {where}, and that one counts",),
                        help="put both into one file, or start with --merge-domains",
                        span=file.domain_span,
                    )
                )
                continue
            for rule in file.rules:
                same = tuple(rules.Match(m.key, m.value, m.wildcard) for m in rule.matches)
                other = seen.setdefault((file.domain, same), name)
                if other != name:
                    out.append(
                        Diagnostic(
                            "DRG1901",
                            f"the descriptor `{rules.metric(file.domain, rule.matches)}` stands in two files",
                            notes=(f"it stands first in {other}, and that one counts",),
                            span=file.domain_span,
                        )
                    )
        return out
