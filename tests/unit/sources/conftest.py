"""A folder and a user for whom permissions count: tests may run as root, to whom they do not."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65534


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """An empty folder of ours; we are nobody in particular until the test is over."""
    folder = Path(tempfile.mkdtemp(prefix="dragoman-"))
    root = os.geteuid() == 0
    try:
        if root:
            os.chown(folder, NOBODY, NOBODY)
            os.seteuid(NOBODY)
        yield folder
    finally:
        if root:
            os.seteuid(0)
        else:
            for path in (folder, *folder.rglob("*")):
                if path.is_dir():
                    path.chmod(0o700)
        shutil.rmtree(folder)
