"""`dragoman authz`: what it says about its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragoman import config
from dragoman.runtime import lookups
from dragoman.sources import files


async def test_files_that_cannot_be_read_are_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The control plane may run elsewhere, with other files: nobody else would say so."""
    (tmp_path / "broken.yaml").write_text("kind: [\n")
    (tmp_path / "route.yaml").write_text(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec: {nope: 1}\n"
    )

    def started(running: lookups.Lookups) -> None:
        running._applied(lookups.feed.Batch({}, frozenset(), 0.0, 0.0))
        running.stop()

    settings = config.Settings()
    await lookups.Lookups(settings, files.Files([str(tmp_path)]), started).run()
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert errors == [f"{tmp_path}/broken.yaml:1:8: did not find expected node content"]
