"""The public API for programs: translate resources without a server, and look at the outcome.

    import dragoman

    result = dragoman.load("examples/01-hello")
    for finding in result.diagnostics:
        print(finding.code, finding.message)
    print(sorted(result.snapshot.names()))

Re-exported lazily by `dragoman/__init__.py`; the command line uses the same pipeline directly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dragoman import config
from dragoman.diagnostics import Diagnostic, Locate
from dragoman.document import Document
from dragoman.graph.pipeline import Pipeline
from dragoman.refs import Ref
from dragoman.sources.files import Files
from dragoman.translators.base import Status
from dragoman.xds.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Translation:
    """What documents became: what Envoy gets, how each object fares, and what is wrong.

    `locate` finds file, line and column of a diagnostic's field, where the documents came from files.
    """

    snapshot: Snapshot
    statuses: Mapping[Ref, Status]
    diagnostics: tuple[Diagnostic, ...]
    locate: Locate


def load(*paths: str | Path, gateways: str = "*", settings: config.Settings | None = None) -> Translation:
    """Reads files and folders and translates them. `gateways`: the node group whose snapshot is wanted.

    Raises OSError for a path that does not exist; everything else that is wrong is a diagnostic.
    """
    pipeline = Pipeline(settings)
    pipeline.apply(Files([str(path) for path in paths]).load())
    pipeline.commit()
    return _outcome(pipeline, gateways)


def translate(
    documents: Iterable[Document], *, gateways: str = "*", settings: config.Settings | None = None
) -> Translation:
    """Translates documents that the caller has at hand."""
    pipeline = Pipeline(settings)
    pipeline.load(documents)
    return _outcome(pipeline, gateways)


def _outcome(pipeline: Pipeline, gateways: str) -> Translation:
    snapshot = pipeline.snapshot(gateways)
    return Translation(snapshot, pipeline.statuses(), tuple(pipeline.diagnostics()), pipeline.locate)
