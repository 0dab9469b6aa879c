"""What Envoys are told of the TLS of our services: whom to believe, and what to show.

The files are the control plane's own. They are looked at every few seconds; what is new and can be used
reaches Envoys with the next batch of changes, what cannot is logged, and the old stays: Envoys are sent
nothing that they would refuse. Used by `ratelimits` and `authz`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from dragoman import config
from dragoman.envoy import ratelimit_service as services
from dragoman.runtime import faults
from dragoman.translators.gateway import keypairs

log = logging.getLogger("dragoman.runtime")

_LOOK: Final = 3.0
"""Seconds between two looks at the files."""


class Trust:
    """The files of one service's `trust`; `setting` is its name. Raises `faults.StartError` where they cannot
    be used."""

    def __init__(self, given: config.Trust, name: str, setting: str) -> None:
        self._files = [path for path in (given.ca, given.certificate, given.key) if path is not None]
        self._name = given.name or name
        self._setting = setting
        self._seen = self._stamp()
        try:
            self.current = self._load()
        except ValueError as failure:
            raise faults.StartError("DRG5001", f"{setting}: {failure}") from None

    def refresh(self) -> bool:
        """Looks at the files again. True if there is something new, and it can be used."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            self.current = self._load()
        except ValueError as failure:
            what = f"the new files of {self._setting} are not usable, the old ones stay"
            log.warning("DRG4103 %s: %s", what, failure)
            return False
        log.info("the files of %s were replaced", self._setting)
        return True

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        """Changes when a file does, or a link on the way to it. () while one is not there."""
        try:
            stats = [path.stat() for path in self._files]
        except OSError:
            return ()
        return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)

    def _load(self) -> services.Trust:
        """Raises ValueError, in words."""
        try:
            read = [path.read_bytes() for path in self._files]
        except OSError as failure:
            raise ValueError(f"{failure.filename}: {failure.strerror}") from None
        flaw = keypairs.trust(read[0])
        if flaw is None and len(read) > 1:
            flaw = keypairs.pair(*read[1:])
        if flaw is not None:
            words = flaw.message
            for name, path in zip(("ca.crt", "tls.crt", "tls.key"), self._files, strict=False):
                words = words.replace(f"`{name}`", str(path))
            raise ValueError(words)
        return services.Trust(read[0], self._name, *read[1:])


class Place(Protocol):
    """Where a service is, with files that may change."""

    def refresh(self) -> bool:
        """Looks at them; whether there is something new for Envoys."""

    def place(self) -> None:
        """Tells the pipeline, which takes it with the next commit."""


async def follow(places: Sequence[Place], nudge: Callable[[Callable[[], None]], None]) -> None:
    """Keeps up with the files of all of them, until cancelled."""
    while True:
        await asyncio.sleep(_LOOK)
        for each in places:
            if each.refresh():
                nudge(each.place)
