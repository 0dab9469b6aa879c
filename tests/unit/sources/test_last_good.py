"""A broken file keeps the last good form of what it held and says so; everything else goes on."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dragoman.diagnostics import Diagnostic, Span
from dragoman.sources import files, tree
from dragoman.sources.base import Update
from dragoman.sources.holdings import Holdings
from tests.unit.sources.build import BROKEN, documents, ports, ref, said, service
from tests.unit.sources.watching import following, replace


class Texts:
    """Holdings, and the objects that came out of them so far."""

    def __init__(self, **texts: str) -> None:
        self.held = Holdings()
        self.objects: dict[str, int] = {}
        self.last = Update()
        self.put(**texts)

    def put(self, **texts: str) -> Texts:
        for name, text in texts.items():
            self.held.put(name, text)
        return self.flush()

    def flush(self) -> Texts:
        update = self.held.flush()
        if update is not None:
            self.last = update
            for gone in update.deletes:
                del self.objects[gone.name]
            self.objects.update(ports(update.upserts))
        return self

    @property
    def said(self) -> list[str]:
        return said(self.last)

    @property
    def notes(self) -> list[str]:
        return [note for each in self.last.diagnostics for note in each.notes]


def test_a_broken_text_keeps_what_it_held_until_it_is_mended() -> None:
    texts = Texts(a=service("cart", 1), b=service("till", 2))
    texts.put(a=BROKEN)
    assert texts.objects == {"cart": 1, "till": 2}
    assert texts.last == Update((), (), texts.last.diagnostics)
    assert texts.said == ["DRG1001 a:4:5"]
    assert "the last good form stays in use: Service shop/cart" in texts.notes
    texts.put(a=service("cart", 1))
    assert (texts.objects, texts.said) == ({"cart": 1, "till": 2}, [])


def test_everything_else_goes_on() -> None:
    texts = Texts(a=service("cart", 1), b=service("till", 2)).put(a=BROKEN)
    assert texts.put(b=service("till", 3)).objects == {"cart": 1, "till": 3}
    assert texts.put(b="").objects == {"cart": 1}
    assert texts.said == ["DRG1001 a:4:5"]


def test_a_broken_piece_does_not_lose_the_others_of_its_text() -> None:
    texts = Texts(a=documents(service("cart", 1), service("till", 2), service("shed", 3)))
    texts.put(a=documents(service("cart", 10), BROKEN, service("shed", 30), service("new", 4)))
    assert texts.objects == {"cart": 10, "till": 2, "shed": 30, "new": 4}
    assert texts.said == ["DRG1001 a:13:5"]
    assert texts.notes[-1] == "the last good form stays in use: Service shop/till"


def test_every_broken_piece_is_said_and_what_is_kept_only_once() -> None:
    texts = Texts(a=documents(*(service(f"s{number}", 1) for number in range(6))))
    texts.put(a=documents(BROKEN, "- list\n", service("s5", 5), "a: 1\na: 2\n"))
    assert texts.said == ["DRG1001 a:4:5", "DRG1003 a:6:1", "DRG1007 a:18:1"]
    kept = [note for note in texts.notes if "last good" in note]
    named = "Service shop/s0, Service shop/s1, Service shop/s2 and 2 more"
    assert kept == [f"the last good form stays in use: {named}"]
    assert texts.objects["s5"] == 5
    assert len(texts.objects) == 6


def test_what_is_kept_goes_when_the_text_is_whole_again_without_it() -> None:
    texts = Texts(a=documents(service("cart", 1), service("till", 2)))
    texts.put(a=documents(BROKEN, service("till", 2)))
    assert texts.put(a=service("till", 2)).objects == {"till": 2}
    assert texts.last.deletes == (ref("cart"),)


def test_what_is_kept_goes_with_its_text() -> None:
    texts = Texts(a=service("cart", 1)).put(a=BROKEN)
    texts.held.remove("a")
    assert texts.flush().objects == {}
    assert texts.said == []


def test_a_text_that_was_never_good_holds_nothing() -> None:
    texts = Texts(a=documents(BROKEN, service("till", 2)))
    assert (texts.objects, texts.said) == ({"till": 2}, ["DRG1001 a:4:5"])
    assert not any("last good" in note for note in texts.notes)


@pytest.mark.parametrize("times", [1, 3])
def test_broken_again_and_again_the_last_good_form_stays(times: int) -> None:
    texts = Texts(a=service("cart", 1))
    for number in range(times):
        texts.put(a=BROKEN + f"# {number}\n")
        texts.held.fail("a", Diagnostic("DRG1002", "cannot be read: is away", span=Span("a", 0)))
        texts.flush()
    assert (texts.objects, texts.said) == ({"cart": 1}, ["DRG1002 a"])
    assert texts.put(a=service("cart", 2)).objects == {"cart": 2}
    assert texts.said == []


def test_a_good_form_elsewhere_comes_before_one_that_is_kept() -> None:
    texts = Texts(a=service("cart", 1)).put(a=BROKEN)
    texts.put(b=service("cart", 2))
    assert texts.objects == {"cart": 2}
    assert texts.said == ["DRG1001 a:4:5"]  # moved, not doubled
    assert texts.put(a=service("cart", 1)).objects == {"cart": 1}
    assert texts.said == ["DRG1006 b:4:9"]


def test_the_second_of_two_takes_the_place_of_the_first() -> None:
    texts = Texts(a=service("cart", 1), b=service("cart", 2))
    assert (texts.objects, texts.said) == ({"cart": 1}, ["DRG1006 b:4:9"])
    texts.held.remove("a")
    assert texts.flush().objects == {"cart": 2}
    assert (texts.last.deletes, texts.said) == ((), [])


def test_the_same_mistake_in_two_texts_is_two_findings() -> None:
    texts = Texts(a=BROKEN, b=BROKEN)
    assert texts.said == ["DRG1001 a:4:5", "DRG1001 b:4:5"]
    assert len(set(texts.last.diagnostics)) == 2


def test_what_says_the_same_is_no_update_but_moves_the_places() -> None:
    texts = Texts(a=service("cart", 1), b=BROKEN)
    texts.held.put("a", "# new\n\n" + service("cart", 1))
    assert texts.held.flush() is None or not texts.flush().last.deletes
    texts.held.put("b", "# new\n---\n" + BROKEN)
    assert texts.flush().said == ["DRG1001 b:6:5"]


def test_careful_reading_does_nothing_if_that_would_lose_an_object() -> None:
    texts = Texts(a=documents(service("cart", 1), service("till", 2)))
    assert not texts.held.put("a", service("cart", 9), careful=True)
    assert texts.held.flush() is None
    assert texts.held.put("a", documents(service("cart", 9), service("till", 2)), careful=True)
    assert texts.flush().objects == {"cart": 9, "till": 2}


# With files


async def test_a_file_that_breaks_and_is_mended(tmp_path: Path) -> None:
    cart, till = tmp_path / "cart.yaml", tmp_path / "till.yaml"
    cart.write_text(service("cart", 1))
    till.write_text(service("till", 2))
    async with following(tmp_path) as seen:
        replace(cart, BROKEN)
        await seen.until(lambda: seen.codes == ["DRG1001"])
        till.write_text(service("till", 3))
        await seen.until(lambda: seen.port("till") == 3)
        assert seen.port("cart") == 1
        replace(cart, service("cart", 4))
        await seen.until(lambda: seen.port("cart") == 4)
        assert seen.codes == []
    assert seen.deleted() == set()


@pytest.mark.parametrize("content", [b"\xff\xff", b"kind: \x00", b"a: b: c", b"[", b"{"])
async def test_rubbish_of_any_kind_loses_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cart.yaml"
    path.write_text(service("cart", 1))
    async with following(path) as seen:
        path.write_bytes(content)
        await seen.until(lambda: seen.codes == ["DRG1001"])
        assert seen.names == {"cart"}
        replace(path, service("cart", 1))
        await seen.until(lambda: not seen.codes)
    assert seen.deleted() == set()


async def test_a_file_that_may_not_be_read_for_a_while(unprivileged: Path) -> None:
    path = unprivileged / "cart.yaml"
    path.write_text(service("cart", 1))
    async with following(f"{unprivileged}/") as seen:
        path.chmod(0)
        path.touch()
        replace(unprivileged / "till.yaml", service("till", 2))
        await seen.until(lambda: "till" in seen.names and seen.codes == ["DRG1002"])
        path.chmod(0o600)
        await seen.until(lambda: not seen.codes)
    assert seen.deleted() == set()


class Failing:
    """Stands before a function of the system, and fails for one path until it is told not to."""

    def __init__(self, function: Callable[..., Any], path: Path, number: int) -> None:
        self.calls = 0
        self.number: int | None = number
        self._function = function
        self._path = str(path)

    def __call__(self, path: Any, *more: Any, **named: Any) -> Any:
        if self.number is not None and str(path) == self._path:
            self.calls += 1
            raise OSError(self.number, os.strerror(self.number), path)
        return self._function(path, *more, **named)


async def test_a_change_that_could_not_be_read_is_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no descriptor left, say; nobody gives notice when there is one again."""
    monkeypatch.setattr(files, "POLL", 0.01)
    path = tmp_path / "cart.yaml"
    path.write_text(service("cart", 1))
    async with following(tmp_path) as seen:
        failing = Failing(tree.content, path, errno.EMFILE)
        monkeypatch.setattr(tree, "content", failing)
        replace(path, service("cart", 2))
        await seen.until(lambda: seen.codes == ["DRG1002"])
        assert seen.port("cart") == 1
        failing.number = None
        await seen.until(lambda: not seen.codes)
        assert seen.port("cart") == 2
        assert not seen.source._flaky
    assert seen.deleted() == set()


async def test_a_folder_that_could_not_be_read_is_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "POLL", 0.01)
    folder = tmp_path / "routes"
    folder.mkdir()
    (folder / "cart.yaml").write_text(service("cart", 1))
    async with following(tmp_path) as seen:
        failing = Failing(os.scandir, folder, errno.ENFILE)
        monkeypatch.setattr(os, "scandir", failing)
        (folder / "more").mkdir()
        await seen.until(lambda: seen.codes == ["DRG1002"])
        failing.number = None
        await seen.until(lambda: not seen.codes)
        assert not seen.source._flaky
    assert seen.deleted() == set()


async def test_a_file_of_which_nothing_can_be_learned_keeps_what_it_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "POLL", 0.01)
    path = tmp_path / "cart.yaml"
    path.write_text(service("cart", 1))
    async with following(tmp_path) as seen:
        failing = Failing(os.stat, path, errno.ESTALE)
        monkeypatch.setattr(os, "stat", failing)
        path.write_text(service("cart", 2))
        await seen.until(lambda: seen.codes == ["DRG1002"])
        failing.number = None
        await seen.until(lambda: seen.port("cart") == 2 and not seen.codes)
    assert seen.deleted() == set()


@pytest.mark.parametrize("end", ["", "/"])
async def test_a_folder_that_may_not_be_read_for_a_while(unprivileged: Path, end: str) -> None:
    folder = unprivileged / "routes"
    folder.mkdir()
    (folder / "cart.yaml").write_text(service("cart", 1))
    async with following(f"{folder}{end}") as seen:
        folder.chmod(0)
        await seen.until(lambda: seen.codes == ["DRG1002"])
        folder.chmod(0o700)
        await seen.until(lambda: not seen.codes)
        (folder / "cart.yaml").write_text(service("cart", 2))
        await seen.until(lambda: seen.port("cart") == 2)
    assert seen.deleted() == set()


async def test_a_link_that_leads_to_itself_for_a_while(tmp_path: Path) -> None:
    (tmp_path / "away").write_text(service("cart", 1))
    inside = tmp_path / "in"
    inside.mkdir()
    link = inside / "cart.yaml"
    link.symlink_to("../away")
    async with following(inside) as seen:
        for target, codes in (("cart.yaml", ["DRG1002"]), ("../away", [])):
            (inside / "new").symlink_to(target)
            (inside / "new").rename(link)
            await seen.until(lambda codes=codes: seen.codes == codes)
    assert (seen.names, seen.deleted()) == ({"cart"}, set())
