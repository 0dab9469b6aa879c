"""Changes as the real inotify tells of them: however files are written, moved and removed, in the end what
was read is what is there, and nothing was gone in between that should not have been.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dragoman.sources import files, holdings, inotify
from dragoman.sources.files import Files
from tests.unit.sources.build import documents, ports, ref, service, write
from tests.unit.sources.watching import Follower, following, replace


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def piece_by_piece(path: Path, text: str) -> None:
    with path.open("w") as file:
        for line in text.splitlines(keepends=True):
            file.write(line)
            file.flush()


def removed_first(path: Path, text: str) -> None:
    """As `git checkout` writes."""
    path.unlink()
    path.write_text(text)


def with_a_backup(path: Path, text: str) -> None:
    """As Emacs and Vim write."""
    path.rename(f"{path}~")
    path.write_text(text)


def linked(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    path.unlink()
    path.hardlink_to(new)
    new.unlink()


WAYS = [in_place, piece_by_piece, replace, removed_first, with_a_backup, linked]


@pytest.mark.parametrize("write_anew", WAYS)
@pytest.mark.parametrize("named", [True, False], ids=["file", "folder"])
async def test_an_edit_is_taken_whole(
    tmp_path: Path, named: bool, write_anew: Callable[[Path, str], None]
) -> None:
    path = tmp_path / "services.yaml"
    path.write_text(documents(service("cart", 1), service("till", 1)))
    async with following(path if named else tmp_path) as seen:
        for port in (2, 3, 4):
            write_anew(path, documents(service("cart", port), service("till", port)))
            await seen.until(lambda port=port: seen.port("till") == port)
            assert seen.port("cart") == port
    assert (seen.deleted(), seen.reported()) == (set(), set())


async def test_only_what_changed_is_said(tmp_path: Path) -> None:
    path = tmp_path / "services.yaml"
    texts = [service(f"s{number}", 1) for number in range(20)]
    path.write_text(documents(*texts))
    async with following(tmp_path) as seen:
        texts[7] = service("s7", 2)
        replace(path, documents(*texts[:12], *texts[13:]))
        await seen.until(lambda: seen.port("s7") == 2)
        (update,) = seen.history
        assert [each.ref.name for each in update.upserts] == ["s7"]
        assert [each.name for each in update.deletes] == ["s12"]


async def test_files_come_and_go(tmp_path: Path) -> None:
    async with following(tmp_path) as seen:
        write(tmp_path, a=service("a"), b=service("b"))
        (tmp_path / "notes.txt").write_text(service("notes"))
        await seen.until_names("a", "b")
        (tmp_path / "a.yaml").unlink()
        await seen.until_names("b")
        (tmp_path / "b.yaml").rename(tmp_path / "b.off")
        await seen.until_names()
        (tmp_path / "b.off").rename(tmp_path / "b.yaml")
        await seen.until_names("b")


async def test_new_folders_with_files_in_them(tmp_path: Path) -> None:
    async with following(tmp_path) as seen:
        write(tmp_path, one__two__three__a=service("a"), one__b=service("b"))
        await seen.until_names("a", "b")
        write(tmp_path, one__two__three__a=service("a", 81), one__two__c=service("c"))
        await seen.until(lambda: seen.port("a") == 81)
        await seen.until_names("a", "b", "c")
        shutil.rmtree(tmp_path / "one" / "two")
        await seen.until_names("b")
        write(tmp_path, one__two__d=service("d"))
        await seen.until_names("b", "d")


async def test_folders_moved_in_and_out(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    write(outside, team__deep__a=service("a"), team__b=service("b"))
    async with following(inside) as seen:
        (outside / "team").rename(inside / "team")
        await seen.until_names("a", "b")
        (inside / "team" / "deep").rename(outside / "deep")
        await seen.until_names("b")
        (outside / "deep" / "a.yaml").write_text(service("stray"))  # nobody's business any more
        (outside / "deep").rename(inside / "deep")
        await seen.until_names("b", "stray")
    assert "a" in seen.deleted()


@pytest.mark.parametrize("whole", [False, True], ids=["file", "folder"])
async def test_a_new_name_changes_no_object(tmp_path: Path, whole: bool) -> None:
    write(tmp_path, a__cart=service("cart"), a__till=service("till"))
    before, after = (tmp_path / "a", tmp_path / "z") if whole else (
        tmp_path / "a" / "cart.yaml", tmp_path / "a" / "zebra.yaml")  # fmt: skip
    async with following(tmp_path) as seen:
        before.rename(after)
        write(tmp_path, later=service("later"))
        await seen.until_names("cart", "till", "later")
        shutil.rmtree(after) if whole else after.unlink()
        await seen.until_names(*(["later"] if whole else ["till", "later"]))
        assert seen.reported() == set()


async def test_two_files_swap_their_names(tmp_path: Path) -> None:
    write(tmp_path, a=service("a", 1), b=service("b", 2))
    async with following(tmp_path) as seen:
        for old, new in (("a", "a.tmp"), ("b", "a"), ("a.tmp", "b")):
            (tmp_path / f"{old}.yaml").rename(tmp_path / f"{new}.yaml")
        (tmp_path / "b.yaml").write_text(service("a", 3))
        await seen.until(lambda: seen.port("a") == 3)
        (tmp_path / "a.yaml").unlink()
        await seen.until_names("a")


async def test_one_of_two_hard_links_counts_and_then_the_other(tmp_path: Path) -> None:
    write(tmp_path, b=service("cart", 1))
    async with following(tmp_path) as seen:
        (tmp_path / "a.yaml").hardlink_to(tmp_path / "b.yaml")
        (tmp_path / "b.yaml").write_text(service("cart", 2))
        await seen.until(lambda: seen.port("cart") == 2)
        (tmp_path / "a.yaml").write_text(service("cart", 3))
        await seen.until(lambda: seen.port("cart") == 3)
        (tmp_path / "a.yaml").unlink()
        await seen.until(lambda: "b.yaml" in str(seen.source.locate(ref("cart"), ())))
        (tmp_path / "b.yaml").write_text(service("cart", 4))
        await seen.until(lambda: seen.port("cart") == 4)
    assert (seen.deleted(), seen.reported()) == (set(), set())


async def test_of_two_hard_links_one_is_replaced(tmp_path: Path) -> None:
    write(tmp_path, a=service("cart"))
    (tmp_path / "b.yaml").hardlink_to(tmp_path / "a.yaml")
    async with following(tmp_path) as seen:
        replace(tmp_path / "a.yaml", service("till"))
        await seen.until_names("cart", "till")


async def test_a_pipe_in_the_folder_stops_nothing(tmp_path: Path) -> None:
    async with following(tmp_path) as seen:
        os.mkfifo(tmp_path / "pipe.yaml")
        write(tmp_path, a=service("a"))
        await seen.until_names("a")
        (tmp_path / "pipe.yaml").unlink()
        write(tmp_path, pipe=service("b"))
        await seen.until_names("a", "b")


async def test_a_named_pipe_is_read_once(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, service("piped").encode())
    os.close(writer)
    try:
        async with following(f"/dev/fd/{reader}", tmp_path) as seen:
            assert seen.names == {"piped"}
            write(tmp_path, sub__a=service("a"))
            await seen.until_names("piped", "a")
    finally:
        os.close(reader)


async def test_what_happens_between_load_and_watch_is_not_lost(tmp_path: Path) -> None:
    write(tmp_path, a=service("a", 1), b=service("b"), c=service("c"))
    source = Files([tmp_path])
    source.load()
    write(tmp_path, a=service("a", 2), d=service("d"))
    updates = source.watch()
    assert ports((await anext(updates)).upserts) == {"a": 2, "d": 80}


async def test_polling_sees_the_same(tmp_path: Path) -> None:
    write(tmp_path, a=service("a", 1))
    async with following(tmp_path, poll=0.01) as seen:
        write(tmp_path, a=service("a", 2), sub__b=service("b"))
        await seen.until(lambda: seen.port("a") == 2 and "b" in seen.names)
        shutil.rmtree(tmp_path / "sub")
        await seen.until_names("a")
    assert seen.reported() == set()


@pytest.mark.parametrize("what", ["instances", "watches"])
async def test_without_notices_folders_are_looked_at(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("dragoman.sources.files.POLL", 0.01)
    monkeypatch.setattr(inotify.Inotify, "__init__" if what == "instances" else "watch", refuse)
    monkeypatch.setattr(inotify.Inotify, "descriptor", os.open(os.devnull, os.O_RDONLY), raising=False)
    write(tmp_path, a=service("a", 1))
    async with following(tmp_path) as seen:
        await seen.until(lambda: seen.codes == ["DRG1008"])
        write(tmp_path, a=service("a", 2))
        await seen.until(lambda: seen.port("a") == 2)
        assert seen.codes == ["DRG1008"]
        monkeypatch.undo()
        if what == "watches":
            await seen.until(lambda: seen.codes == [])


async def test_what_changes_while_a_file_is_read_comes_along_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A burst of edits is one update, although the first of them was heard of alone."""
    first, second = tmp_path / "cart.yaml", tmp_path / "till.yaml"
    write(tmp_path, cart=documents(service("cart", 1)), till=documents(service("till", 1)))
    monkeypatch.setattr(files, "GATHER", 60.0)  # the machine may stand still meanwhile
    held = Slow(lambda: replace(second, documents(service("till", 2))))
    follower = Follower(Files([tmp_path], held=held))
    task = asyncio.create_task(follower.follow())
    await asyncio.sleep(0)
    held.ready = True
    try:
        replace(first, documents(service("cart", 2)))
        await follower.until(lambda: follower.port("till") == 2)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert [{document.ref.name for document in update.upserts} for update in follower.history] == [
        {"cart", "till"}
    ]


class Slow(holdings.Holdings):
    """Once `ready`, something else changes while the first text is taken in."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self.ready = False
        self._meanwhile = meanwhile

    def put(self, name: str, text: str, *, careful: bool = False) -> bool:
        if self.ready:
            self.ready = False
            self._meanwhile()
        return super().put(name, text, careful=careful)
