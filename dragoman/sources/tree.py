"""Which files there are: walks the paths that were named, and says which folders to watch for them.

A folder counts with all below it: `*.yaml`, `*.yml` and `*.json`. Hidden names do not, and so neither do
the `..data` folders of Kubernetes' ConfigMap and Secret mounts; what is visible there are links into them,
which are followed. A file that is reached twice is read once. A named file counts whatever its name and kind
(`<(...)` is a pipe); in folders only regular files do. Reads them, too. Called by `files`.
"""

# Paths are strings here: as `Path` objects ten thousand of them cost more than the walk itself.
# ruff: noqa: PTH100, PTH112, PTH114, PTH115, PTH116, PTH118, PTH120

from __future__ import annotations

import contextlib
import os
import stat
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

SUFFIXES: Final = (".yaml", ".yml", ".json")
_SKIPPED: Final = frozenset({"kustomization.yaml", "kustomization.yml"})
"""Instructions for `kustomize`, not resources."""
_LINKS = 40
"""As many links in a row as the kernel follows."""
_PART = 1 << 15
"""Bytes read at once."""


def eligible(name: str) -> bool:
    """Whether a file in a folder is read, by its name."""
    return name.endswith(SUFFIXES) and not name.startswith(".") and name not in _SKIPPED


class State(bytes):
    """What is kept of a file's `os.stat_result`, for every file: numbers in a tuple would take four times as
    much, and the result itself more still."""

    __slots__ = ()

    @property
    def identity(self) -> bytes:
        """Device and inode."""
        return self[:16]

    @property
    def stamp(self) -> bytes:
        """What tells one state of a file from another: identity, size, times of change."""
        return self[:40]

    @property
    def size(self) -> int:
        return int(_FIELDS.unpack(self)[2])

    @property
    def changed(self) -> int:
        """When its content changed, in nanoseconds."""
        return int(_FIELDS.unpack(self)[3])

    @property
    def links(self) -> int:
        """Its names (hard links)."""
        return int(_FIELDS.unpack(self)[5])

    @property
    def regular(self) -> bool:
        return bool(_FIELDS.unpack(self)[6])


_FIELDS: Final = struct.Struct("<QQQqqI?")


def state_of(state: os.stat_result) -> State:
    """The part that counts."""
    return State(
        _FIELDS.pack(
            state.st_dev,
            state.st_ino,
            state.st_size,
            state.st_mtime_ns,
            state.st_ctime_ns,
            min(state.st_nlink, 2**32 - 1),
            stat.S_ISREG(state.st_mode),
        )
    )


@dataclass(slots=True)
class Tree:
    """What a walk found. Names are as the user named them: `shop/routes.yaml`.

    `files`: name -> its state. `folders`: those whose contents count. `links`: (folder, name) -> the files
    and folders that are reached through that name, where it is a named path, a link, or a link's target.
    `others`: further names of `files`. `failures`: what cannot be read.
    """

    files: dict[str, State] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    links: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    failures: dict[str, OSError] = field(default_factory=dict)


def walk(roots: Iterable[str], enter: Callable[[str], None] = lambda folder: None) -> Tree:
    """Walks the paths. `enter` hears of every folder before its contents are read (to watch it first)."""
    tree = Tree()
    seen: set[tuple[int, int]] = set()
    for root in roots:
        for place in chain(root):
            tree.links.setdefault(place, set()).add(root)
            enter(place[0])
        try:
            state = os.stat(root)
        except OSError as failure:
            if not isinstance(failure, FileNotFoundError):
                tree.failures[root] = failure
            continue
        if stat.S_ISDIR(state.st_mode):
            _folder(tree, root, state, seen, enter)
        else:
            _file(tree, root, state, seen)
    return tree


def _folder(
    tree: Tree, path: str, state: os.stat_result, seen: set[tuple[int, int]], enter: Callable[[str], None]
) -> None:
    if (identity := (state.st_dev, state.st_ino)) in seen:
        return
    seen.add(identity)
    tree.folders.append(path)
    enter(path)
    try:
        with os.scandir(path) as entries:
            listed = sorted(
                (entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name
            )
    except OSError as failure:
        if not isinstance(failure, FileNotFoundError):
            tree.failures[path] = failure
        return
    for entry in listed:
        try:
            folder = entry.is_dir()
            if not folder and not eligible(entry.name):
                continue
            if entry.is_symlink():
                for place in chain(entry.path):
                    tree.links.setdefault(place, set()).add(entry.path)
                    enter(place[0])
            state = entry.stat()
            if folder:
                _folder(tree, entry.path, state, seen, enter)
            elif stat.S_ISREG(state.st_mode):  # to open a pipe would be to wait for whoever writes it
                _file(tree, entry.path, state, seen)
        except FileNotFoundError:
            continue  # gone meanwhile, or a link to nowhere
        except OSError as failure:
            tree.failures[entry.path] = failure


def _file(tree: Tree, path: str, state: os.stat_result, seen: set[tuple[int, int]]) -> None:
    if (identity := (state.st_dev, state.st_ino)) not in seen:
        seen.add(identity)
        tree.files[path] = state_of(state)
    elif path not in tree.files:
        tree.others.add(path)


def chain(path: str) -> list[tuple[str, str]]:
    """The (folder, name) pairs on which a path hangs: itself, and link by link what it leads to.

    Where a folder is missing its nearest ancestor stands in, with the name that has to appear in it.
    """
    out: list[tuple[str, str]] = []
    rest = [path]
    for _ in range(_LINKS):
        if not rest:
            break
        folder, name = os.path.split(os.path.abspath(rest.pop()))
        while not os.path.isdir(folder) and folder != os.path.dirname(folder):
            folder, name = os.path.split(folder)
        if (folder, name) in out or not name:
            continue
        out.append((folder, name))
        rest += _targets(folder, name)
    return out


def _targets(folder: str, name: str) -> list[str]:
    """Where links lead: the one of this name, and those on the way to its folder."""
    out: list[str] = []
    with contextlib.suppress(OSError):  # no link, or none any more
        out.append(os.path.join(folder, os.readlink(os.path.join(folder, name))))
    step = folder
    while step != os.path.dirname(step):
        if os.path.islink(step):
            out.append(step)
        step = os.path.dirname(step)
    return out


def content(name: str) -> bytes:
    """What is in a file (or comes out of a pipe), with half the system calls of `open`."""
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = [os.read(descriptor, _PART)]
        while part := os.read(descriptor, _PART):
            parts.append(part)
    finally:
        os.close(descriptor)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def gone(name: str) -> bool:
    """Whether nothing has that name, not even a link that leads nowhere."""
    return not os.path.lexists(name)


def linked(name: str) -> bool:
    """Whether a new name was given to an existing file (`ln`), which nobody is going to close."""
    try:
        return os.stat(name).st_nlink > 1
    except OSError:
        return False
