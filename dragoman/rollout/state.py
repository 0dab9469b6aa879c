"""How far rollouts are, in a file that survives restarts.

Versioned JSON, replaced as a whole: written beside it, fsynced, renamed. A file that cannot be read is set
aside and said so, and rollouts begin anew: their canaries get nothing until the first step. One control plane
per file; the name has the xDS port in it, so that two on one machine do not meet.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pydantic

from dragoman import config
from dragoman.ir.rollouts import Progress
from dragoman.refs import Ref

log: Final = logging.getLogger(__name__)

_VERSION: Final = 1


def path(settings: config.Settings) -> Path | None:
    """The file; None where there is no place for one. A port that is chosen anew each time has no file unless
    a directory is given."""
    folder = settings.state.directory
    if folder is None:
        if settings.xds.port == 0:
            return None
        folder = _default()
        if folder is None:
            return None
    return folder / f"rollouts-{settings.xds.port}.json"


def _default() -> Path | None:
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    base = os.environ.get("XDG_STATE_HOME", "")
    if base:
        return Path(base) / "dragoman"
    home = os.environ.get("HOME", "")
    return Path(home) / ".local" / "state" / "dragoman" if home else None


class File:
    """`load` once, `save` whenever something was decided. Trouble is logged and never raised."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._failed = False

    def load(self) -> dict[Ref, Progress]:
        """What the last control plane left."""
        if self._path is None:
            return {}
        try:
            return _read(json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as failure:
            log.error("DRG5101 %s cannot be read, rollouts begin anew: %s", self._path, _words(failure))
            self._set_aside()
            return {}

    def save(self, known: Mapping[Ref, Progress]) -> bool:
        """Replaces the file. Whether it worked."""
        if self._path is None:
            self._complain("there is no place for it: set state.directory")
            return False
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = self._path.with_suffix(".draft")
            with draft.open("wb") as file:
                file.write(json.dumps(_written(known), indent=1).encode())
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
            _sync(self._path.parent)
        except OSError as failure:
            self._complain(f"{self._path}: {_words(failure)}")
            return False
        self._failed = False
        return True

    def _complain(self, words: str) -> None:
        """Once, until it works again."""
        if not self._failed:
            log.error("DRG5101 how far rollouts are will not survive a restart: %s", words)
        self._failed = True

    def _set_aside(self) -> None:
        assert self._path is not None
        try:
            self._path.replace(self._path.with_suffix(".unreadable"))
        except OSError:
            pass  # the next `save` says what is wrong with the folder


def _sync(folder: Path) -> None:
    """The rename itself must survive too."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _words(failure: Exception) -> str:
    if isinstance(failure, OSError):
        return failure.strerror or type(failure).__name__
    return f"it is not what was written ({type(failure).__name__})"


def _written(known: Mapping[Ref, Progress]) -> dict[str, Any]:
    rollouts = [
        {"ref": list(ref), **asdict(progress), "phase": progress.phase.value}
        for ref, progress in sorted(known.items())
    ]
    return {"version": _VERSION, "rollouts": rollouts}


def _read(data: Any) -> dict[Ref, Progress]:
    """Raises one of many errors for what `_written` did not write."""
    if data["version"] != _VERSION:
        raise ValueError(f"version {data['version']}")
    found: dict[Ref, Progress] = {}
    for entry in data["rollouts"]:
        ref = _REF.validate_python(entry.pop("ref"))
        progress = _PROGRESS.validate_python(entry)
        if not 0 <= progress.weight <= 100:
            raise ValueError(f"weight {progress.weight}")
        found[ref] = progress
    return found


_REF: Final = pydantic.TypeAdapter(Ref)
_PROGRESS: Final = pydantic.TypeAdapter(Progress)
