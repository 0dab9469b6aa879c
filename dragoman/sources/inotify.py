"""Linux's inotify through ctypes: four system calls and one structure, not worth a dependency.

Non-blocking: the owner asks for `events()` when the descriptor is readable (`loop.add_reader`). Watches
follow symbolic links; watching a folder again gives the same descriptor. See inotify(7). Called by `files`
only.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final, NamedTuple

MODIFY: Final = 0x2
ATTRIB: Final = 0x4
CLOSE_WRITE: Final = 0x8
MOVED_FROM: Final = 0x40
MOVED_TO: Final = 0x80
CREATE: Final = 0x100
DELETE: Final = 0x200
DELETE_SELF: Final = 0x400
MOVE_SELF: Final = 0x800
UNMOUNT: Final = 0x2000
OVERFLOW: Final = 0x4000
IGNORED: Final = 0x8000
ISDIR: Final = 0x4000_0000
_ONLYDIR: Final = 0x0100_0000
_MASK_ADD: Final = 0x2000_0000

CONTENTS: Final = (
    MODIFY | ATTRIB | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF
)
"""All that may change what a folder holds, or whether we may read it."""

ITSELF: Final = DELETE_SELF | MOVE_SELF
"""A folder's own fate, and nothing of what happens in it."""

UPHEAVAL: Final = OVERFLOW | IGNORED | UNMOUNT | DELETE_SELF | MOVE_SELF
"""After these only a look at everything helps."""

_HEADER = struct.Struct("iIII")
_BATCH = 1 << 16
_ROOM = _BATCH - 1024
"""With so many bytes in a read there may be more: an event has up to 272."""


class Event(NamedTuple):
    """`watch` is -1 for an overflow of the queue; `name` is "" for the folder itself."""

    watch: int
    mask: int
    name: str


class Inotify:
    """One inotify instance. Raises `OSError` where the system has none or allows no more of them."""

    def __init__(self) -> None:
        try:
            self._libc = ctypes.CDLL(None, use_errno=True)
            self.descriptor: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        except AttributeError:
            raise OSError("no inotify on this system") from None
        if self.descriptor < 0:
            raise _failure()

    def watch(self, folder: str, mask: int = CONTENTS) -> int:
        """Watches a folder, also for what it is watched for already, and returns the watch's number. Raises
        `OSError`.
        """
        number: int = self._libc.inotify_add_watch(
            self.descriptor, os.fsencode(folder), ctypes.c_uint32(mask | _ONLYDIR | _MASK_ADD)
        )
        if number < 0:
            raise _failure()
        return number

    def forget(self, watch: int) -> None:
        """Ends a watch; one that has ended already does no harm."""
        self._libc.inotify_rm_watch(self.descriptor, watch)

    def events(self) -> list[Event]:
        """All that has arrived; empty where nothing has."""
        out: list[Event] = []
        while True:
            try:
                data = os.read(self.descriptor, _BATCH)
            except BlockingIOError:
                return out
            at = 0
            while at < len(data):
                watch, mask, _, length = _HEADER.unpack_from(data, at)
                at += _HEADER.size
                name = data[at : at + length].rstrip(b"\0")
                at += length
                out.append(Event(watch, mask, os.fsdecode(name)))
            if len(data) < _ROOM:
                return out  # the system gives as much as fits, so this was all

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _failure() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
