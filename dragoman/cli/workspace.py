"""Resources in hand: PATH... read and translated, for every command that works without a running control
plane.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click

from dragoman import config
from dragoman.cli import failure, render
from dragoman.diagnostics import Diagnostic, Severity
from dragoman.document import Document
from dragoman.graph.pipeline import Pipeline
from dragoman.refs import Ref
from dragoman.sources import files


@dataclass(frozen=True, slots=True)
class Workspace:
    """The documents as they were read (broken files' ones are missing) and the pipeline that holds them."""

    documents: Mapping[Ref, Document]
    pipeline: Pipeline
    findings: tuple[Diagnostic, ...]

    def worst(self) -> Severity | None:
        return max((item.severity for item in self.findings), default=None)


def read(paths: Sequence[str], settings: config.Settings, group: str = "*") -> Workspace:
    """As `load`, for commands that show no findings: how many errors there are is said on stderr, since what
    an error takes out would else be missing in silence.
    """
    found = load(paths, settings, group)
    errors = sum(item.severity is Severity.ERROR for item in found.findings)
    if errors:
        named = " ".join(paths)
        click.secho(
            f"{render.count(errors, 'error')} in {named}: what they concern may be missing here;"
            f" `dragoman validate {named}` lists them",
            fg="yellow",
            err=True,
        )
    return found


def load(paths: Sequence[str], settings: config.Settings, group: str = "*") -> Workspace:
    """Reads and translates. `Failure` for a path that is not there; all else is among the findings."""
    pipeline = Pipeline(settings)
    try:
        update = files.Files(list(paths)).load()
    except OSError as error:
        raise failure.Failure(
            f"{error.filename}: {(error.strerror or str(error)).lower()}", code="DRG5002"
        ) from None
    pipeline.apply(update)
    pipeline.commit()
    # Some findings only show where Gateways meet in one Envoy; the group stays in use for the process's life.
    pipeline.activate(group)
    return Workspace({d.ref: d for d in update.upserts}, pipeline, tuple(pipeline.diagnostics()))
