"""The source of files: paths in, documents out, and then what changes, within milliseconds.

`load` reads everything that is there. `watch` listens to inotify and yields what changes; nothing is held
back to wait for more, but what has already arrived goes together. Two things take their time for a reason:
a file that is being written is read when its writer closes it (or pauses, if nothing would be lost by
reading), and a file that vanishes is given a moment to come back, because some editors and `git` write by
removing first. Where there is no inotify, folders are looked at once a second. The runtime and the command
line make one `Files`.
"""

# Paths are strings here: as `Path` objects ten thousand of them cost more than the walk itself.
# ruff: noqa: PTH114, PTH116, PTH117, PTH118, PTH120

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO, Final, Protocol

import xxhash

from dragoman import garbage
from dragoman.diagnostics import Diagnostic, Span
from dragoman.refs import FieldPath, Ref
from dragoman.sources import base, holdings, inotify, objects, tree, yamldoc

STDIN: Final = "<stdin>"

SETTLE: Final = 0.05
"""Seconds without a write after which a file that is still open is looked at."""
PATIENCE: Final = 2.0
"""Seconds after which a file that is still open is taken as it is, even if that loses objects."""
GRACE: Final = 0.025
"""Seconds that a file which vanished has to come back."""
POLL: Final = 1.0
"""Seconds between two looks at the folders where there is no inotify."""
GATHER: Final = 0.005
"""Seconds for which what arrives while files are read is read with them: a few changes at once are one
update, and many in a row do not hold up the first."""

_PASSING = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN}
)
"""Failures that end without a change of the file, so that nobody says when: it is read again after `POLL`."""
_BULK = 1 << 16
"""Bytes from which on reading counts as bulk work."""
_PIECE = 100
"""Files in a part of everything."""
_APPEARS = inotify.CREATE | inotify.MOVED_TO
_RACY = 50_000_000
"""A file changed less than so many nanoseconds before it was read may have changed again within its time
stamp.
"""


@dataclass(frozen=True, slots=True)
class _Due:
    """A file to look at. `at` is loop time; `closed` says that nobody is in the middle of writing it."""

    at: float
    since: float
    closed: bool


@dataclass(slots=True)
class _Ears:
    """What one walk listens to. `folders`: watch -> the names of the folder; none where only its own fate
    matters. `above`: folders whose own fate is watched. `deaf`: folders that could not be watched.
    """

    folders: dict[int, set[str]] = field(default_factory=dict)
    above: set[str] = field(default_factory=set)
    deaf: dict[str, OSError] = field(default_factory=dict)


class Held(Protocol):
    """What `Files` puts the texts into that it finds: `holdings.Holdings`, where each method is explained."""

    def __contains__(self, name: str) -> bool: ...

    def names(self) -> list[str]: ...

    def put(self, name: str, text: str, *, careful: bool = False) -> bool: ...

    def fail(self, name: str, diagnostic: Diagnostic) -> None: ...

    def remove(self, name: str) -> None: ...

    def locate(self, ref: Ref, path: FieldPath) -> Span | None: ...

    def diagnostics(self) -> list[Diagnostic]: ...

    def part(self) -> base.Update | None: ...

    def flush(self) -> base.Update | None: ...


class Files:
    """Files, folders (with all below) and `-` for standard input. Implements `sources.base.Source`.

    `poll`: seconds between looks at the folders, for file systems that inotify does not see (NFS); None:
    inotify. `held`: what makes documents of the texts, if these are not made of objects.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        cluster_scoped: frozenset[tuple[str, str]] = objects.CLUSTER_SCOPED,
        stdin: BinaryIO | None = None,
        poll: float | None = None,
        held: Held | None = None,
    ) -> None:
        names = [os.fspath(path) for path in paths]
        self._roots = [name for name in dict.fromkeys(names) if name != "-"]
        self._reads_stdin = "-" in names
        self._stdin = stdin
        self._poll = poll
        self._held: Held = holdings.Holdings(cluster_scoped) if held is None else held
        self._tree = tree.Tree()
        self._stamps: dict[str, bytes] = {}
        self._digests: dict[str, int] = {}
        self._notify: inotify.Inotify | None = None
        self._watches: dict[int, set[str]] = {}
        self._due: dict[str, _Due] = {}
        self._flaky: set[str] = set()
        self._stale = False
        self._limited = ""
        self._told = ""

    def locate(self, ref: Ref, path: FieldPath) -> Span | None:
        """`diagnostics.Locate` over what is held."""
        return self._held.locate(ref, path)

    def load(self) -> base.Update:
        """Reads everything. Raises `OSError` where a path that was named does not exist."""
        for _ in self._reading():
            pass
        return self._held.flush() or base.Update()

    def pieces(self) -> Iterator[base.Update]:
        """See `sources.base.Source`."""
        for count, _ in enumerate(self._reading(), 1):
            if not count % _PIECE and (update := self._held.part()) is not None:
                yield update
        if (update := self._held.flush()) is not None:
            yield update

    def _reading(self) -> Iterator[str]:
        """Reads everything, file by file, in the order in which namesakes count (`holdings`)."""
        for root in self._roots:
            os.stat(root)
        self._tree = tree.walk(self._roots)
        with garbage.spared(sum(state.size for state in self._tree.files.values()) > _BULK):
            if self._reads_stdin:
                self._take(STDIN, self._standard().read())
                yield STDIN
            for name in sorted(self._tree.files, key=holdings.shown):
                self._look(name, self._tree.files[name])
                yield name
            self._refuse_folders()

    async def watch(self) -> AsyncIterator[base.Update]:
        """What changes after `load`. Close it (`aclose`) or cancel the task to end it."""
        import asyncio  # only here: who just loads, as `validate` does, need not wait 27 ms for it

        loop = asyncio.get_running_loop()
        awake = asyncio.Event()
        notify = self._open()
        if notify is not None:

            def read() -> None:
                self._hear(notify, loop.time())
                if self._due or self._stale:
                    awake.set()

            loop.add_reader(notify.descriptor, read)
        try:
            self._rescan()
            while True:
                if (update := self._flush()) is not None:
                    yield update
                try:
                    async with asyncio.timeout(self._patience(loop.time())):
                        await awake.wait()
                except TimeoutError:
                    if self._looks_itself and not self._due:
                        self._stale = True
                awake.clear()
                until = loop.time() + GATHER
                while True:
                    if self._stale:
                        self._rescan()
                    await self._settle(loop.time())
                    if self._stale:
                        self._rescan()
                    now = loop.time()
                    if notify is None or now > until:
                        break
                    self._hear(notify, now)
                    if not (self._stale or any(due.at <= now for due in self._due.values())):
                        break
        finally:
            if notify is not None:
                loop.remove_reader(notify.descriptor)
                notify.close()
            self._notify = None
            self._watches.clear()

    # Reading

    def _standard(self) -> BinaryIO:
        if self._stdin is not None:
            return self._stdin
        if sys.stdin is None:  # closed by whoever started us
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), "-")
        return sys.stdin.buffer

    def _look(self, name: str, state: tree.State, *, careful: bool = False) -> bool:
        """Reads a file. `careful`: not if that would lose an object, and then says False."""
        now = time.time_ns()
        try:
            data = tree.content(name)
        except FileNotFoundError:
            return True  # its deletion has been or will be noticed
        except OSError as failure:
            self._refuse(name, failure)
            return True
        self._flaky.discard(name)
        self._stamps[name] = _stamp(state, now)
        return self._take(name, data, careful=careful)

    def _take(self, name: str, data: bytes, *, careful: bool = False) -> bool:
        digest = xxhash.xxh3_64_intdigest(data)
        if name in self._held and self._digests.get(name) == digest:
            return True
        try:
            text = yamldoc.decode(data)
        except yamldoc.Invalid as failure:
            if careful:
                return False
            self._held.fail(name, holdings.undecodable(name, failure.problems[0]))
            self._digests[name] = digest
            return True
        if not self._held.put(name, text, careful=careful):
            return False
        self._digests[name] = digest
        return True

    def _forget(self, name: str) -> None:
        self._held.remove(name)
        self._flaky.discard(name)
        self._stamps.pop(name, None)
        self._digests.pop(name, None)
        state = self._tree.files.pop(name, None)
        if state is not None and state.links > 1:
            self._stale = True  # the file may have another name, which did not count until now

    def _refuse(self, name: str, failure: OSError) -> None:
        self._stamps.pop(name, None)
        self._digests.pop(name, None)
        self._held.fail(name, holdings.unreadable(name, failure))
        if failure.errno in _PASSING:
            self._flaky.add(name)
        else:
            self._flaky.discard(name)

    def _refuse_folders(self) -> None:
        for name, failure in self._tree.failures.items():
            self._refuse(name, failure)

    # Watching

    def _open(self) -> inotify.Inotify | None:
        self._limited = self._told = ""
        if self._poll is None:
            try:
                self._notify = inotify.Inotify()
            except OSError as failure:
                self._limited = _reason(failure)
        return self._notify

    def _flush(self) -> base.Update | None:
        update = self._held.flush()
        if update is None and self._limited == self._told:
            return None
        self._told = self._limited
        update = update or base.Update(diagnostics=tuple(self._held.diagnostics()))
        if not self._limited:
            return update
        return replace(update, diagnostics=(*update.diagnostics, holdings.unnoticed(self._limited)))

    def _patience(self, now: float) -> float | None:
        """Seconds until there is something to do although nothing was heard; None: never."""
        if self._stale:
            return 0.0
        waits = [max(due.at - now, 0.0) for due in self._due.values()]
        if self._looks_itself:
            waits.append(self._poll or POLL)
        return min(waits, default=None)

    @property
    def _looks_itself(self) -> bool:
        """Whether there may be something to do of which nobody gives notice."""
        return self._notify is None or bool(self._limited or self._flaky)

    def _rescan(self) -> None:
        """Walks everything again and looks at what differs. Files under the pen are left to `_settle`."""
        import asyncio

        self._stale = False
        ears = _Ears()
        before = self._tree
        self._tree = tree.walk(self._roots, lambda folder: self._enter(folder, ears))
        if self._notify is not None:
            # Of what cannot even be read the folder above tells when it can be.
            silent = (each for folder, each in ears.deaf.items() if folder not in self._tree.failures)
            self._limited = next(map(_reason, silent), "")
            for number in self._watches.keys() - ears.folders.keys():
                self._notify.forget(number)
        self._watches = ears.folders
        if self._tree.files == before.files:
            self._tree.files = before.files  # as a rule; the same names and numbers need not be there twice
        for name in before.failures.keys() - self._tree.failures.keys() - self._tree.files.keys():
            self._held.remove(name)
            self._flaky.discard(name)
        self._refuse_folders()
        changed = []
        for name, state in self._tree.files.items():
            if (due := self._due.get(name)) is not None and not due.closed:
                continue
            self._due.pop(name, None)
            if self._stamps.get(name, b"")[:40] != state.stamp and not self._is_spent(name, state):
                changed.append((name, state))
        hidden = tuple(os.path.join(folder, "") for folder in self._tree.failures)
        missing = [
            name
            for name in self._held.names()
            if not (name in self._tree.files or name in self._tree.failures or name == STDIN)
            and not name.startswith(hidden or ("\0",))
        ]
        former = self._identities(missing)
        with garbage.spared(len(changed) > 1 and sum(state.size for _, state in changed) > _BULK):
            for name, state in changed:
                self._succeed(name, state, former)
                self._look(name, state)
        now = asyncio.get_running_loop().time()
        for name in missing:
            if name in self._held and name not in self._due:
                self._due[name] = _Due(now + GRACE, now, True)

    def _identities(self, names: Iterable[str]) -> dict[bytes, str]:
        """Device and inode of what was read under these names."""
        return {self._stamps[name][:16]: name for name in names if name in self._stamps}

    def _succeed(self, name: str, state: tree.State, former: dict[bytes, str]) -> None:
        """A renamed file loses its former name at once, lest its objects stand twice for a moment."""
        if name not in self._held and (old := former.get(state.identity)) is not None:
            self._forget(old)
            self._due.pop(old, None)

    def _counted(self, name: str, state: tree.State) -> str:
        """The one name under which a file with several (links of either kind) is read."""
        if name in self._tree.files or (state.links == 1 and name not in self._tree.others):
            return name
        same = (each for each, known in self._tree.files.items() if _same(known, state))
        return next(same, name)

    def _is_spent(self, name: str, state: tree.State) -> bool:
        """A pipe is read once; to open it again would be to wait for somebody to write."""
        return name in self._held and not state.regular

    def _enter(self, folder: str, ears: _Ears) -> None:
        if self._notify is None:
            return
        try:
            ears.folders.setdefault(self._notify.watch(folder), set()).add(folder)
        except (FileNotFoundError, NotADirectoryError):
            self._stale = True  # gone between two calls: look again
        except OSError as failure:  # as a rule fs.inotify.max_user_watches
            ears.deaf[folder] = failure
        # Where a folder further up moves away, everything below gets another name and nobody else says so.
        while os.path.isabs(folder) and (folder := os.path.dirname(folder)) not in ears.above:
            ears.above.add(folder)
            with contextlib.suppress(OSError):
                ears.folders.setdefault(self._notify.watch(folder, inotify.ITSELF), set())

    def _hear(self, notify: inotify.Inotify, now: float) -> None:
        """Takes in what has happened. Most of what happens beside the files (drafts) is forgotten here."""
        for event in notify.events():
            self._notice(event, now)

    def _notice(self, event: inotify.Event, now: float) -> None:
        """Notes which file to look at when, or that everything is to be looked at."""
        if event.mask & inotify.UPHEAVAL:
            self._stale = True
            return
        for folder in self._watches.get(event.watch, ()):
            path = os.path.join(folder, event.name)
            names = self._tree.links.get((folder, event.name), set())
            if names or (event.mask & _APPEARS and not tree.eligible(event.name) and os.path.islink(path)):
                if event.mask & (inotify.MODIFY | inotify.CLOSE_WRITE):
                    for name in names:
                        self._schedule(name, event.mask, now)
                else:
                    self._stale = True
            elif path in self._tree.files:
                self._schedule_or_follow(path, event.mask, now)
            elif folder in self._tree.folders and not event.name.startswith("."):
                if event.mask & inotify.ISDIR:
                    self._stale = True
                elif tree.eligible(event.name):
                    self._schedule_or_follow(path, event.mask, now)

    def _schedule_or_follow(self, path: str, mask: int, now: float) -> None:
        if os.path.islink(path):
            self._stale = True  # new, or in a file's place; where it leads has to be watched as well
        else:
            self._schedule(path, mask, now)

    def _schedule(self, name: str, mask: int, now: float) -> None:
        before = self._due.get(name)
        if mask & inotify.ATTRIB and before is not None:
            return
        since = before.since if before is not None and not before.closed else now
        if mask & (inotify.CLOSE_WRITE | inotify.MOVED_TO):
            self._due[name] = _Due(now, now, True)
        elif mask & (inotify.DELETE | inotify.MOVED_FROM):
            self._due[name] = _Due(now + GRACE, now, True)
        elif mask & inotify.CREATE and tree.linked(name):
            self._stale = True  # which of its names counts is for a walk to say
        elif mask & inotify.ATTRIB:
            self._due[name] = _Due(now, now, False)
        else:
            self._due[name] = _Due(min(now + SETTLE, since + PATIENCE), since, False)

    async def _settle(self, now: float) -> None:
        """Looks at the files whose time has come. Gives the event loop a turn between many."""
        import asyncio

        ready = [name for name, due in self._due.items() if due.at <= now]
        former = self._identities(name for name, due in self._due.items() if due.at > now and tree.gone(name))
        turn = time.perf_counter()
        for name in ready:
            due = self._due.pop(name)
            try:
                found = os.stat(name)
            except (FileNotFoundError, NotADirectoryError):
                self._forget(name)
                continue
            except OSError as failure:
                self._refuse(name, failure)
                continue
            state = tree.state_of(found)
            if not state.regular:
                if name not in self._roots or stat.S_ISDIR(found.st_mode):
                    self._forget(name)
                    continue
                if self._is_spent(name, state):
                    continue
            if (other := name) != (name := self._counted(name, state)):
                self._forget(other)  # it counted until now, if ever
            before = self._tree.files.setdefault(name, state)
            if before.links > 1 and not _same(before, state):
                self._stale = True  # another name of what stood here did not count until now
            self._succeed(name, state, former)
            late = now - due.since >= PATIENCE
            if not self._look(name, state, careful=not due.closed and not late) and name not in self._due:
                self._due[name] = _Due(min(now + 4 * SETTLE, due.since + PATIENCE), due.since, False)
            if time.perf_counter() - turn > 0.02:
                await asyncio.sleep(0)
                turn = time.perf_counter()


def _stamp(state: tree.State, read_at: int) -> bytes:
    """What begins with the stamp of the state that was read, so that another one shows; only the file's
    identity where the clock is too coarse to tell (read too soon).
    """
    return state.identity if state.changed > read_at - _RACY else state


def _same(one: tree.State, other: tree.State) -> bool:
    """Whether two names stand for one file."""
    return one.identity == other.identity


def _reason(failure: OSError) -> str:
    return (failure.strerror or str(failure)).lower()
