"""Which files are read: named ones, folders with all below, standard input; and which are not."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from dragoman.sources import tree
from dragoman.sources.base import Update
from dragoman.sources.files import Files
from tests.unit.sources.build import load, names, said, service, write


def test_a_file_counts_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / ".services"
    path.write_text(service("cart"))
    assert names(load(path)) == ["Service shop/cart"]


def test_folders_count_with_all_below_in_the_order_of_names(tmp_path: Path) -> None:
    write(tmp_path, b=service("b"), a__z=service("z"), a__deep__er__x=service("x"), c=service("c"))
    (tmp_path / "empty").mkdir()
    assert names(load(tmp_path)) == [f"Service shop/{name}" for name in ("x", "z", "b", "c")]


@pytest.mark.parametrize("name", ["a.yaml", "a.yml", "a.json"])
def test_yaml_and_json_in_folders(tmp_path: Path, name: str) -> None:
    text = '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "shop"}}'
    (tmp_path / name).write_text(text)
    assert names(load(tmp_path)) == ["Service shop/a"]


@pytest.mark.parametrize(
    "name",
    [".hidden.yaml", ".hidden/a.yaml", "..2026_01_01/a.yaml", "README.md", "values.yaml.tmpl", "a.yaml~",
     "a.YAML", "yaml", "kustomization.yaml", "kustomization.yml", "Makefile", ".a.yaml.swp"],
)  # fmt: skip
def test_other_files_in_folders_are_left_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(service("a"))
    assert load(tmp_path) == Update()


def test_standard_input_goes_with_files(tmp_path: Path) -> None:
    write(tmp_path, cart=service("cart"))
    source = Files(["-", tmp_path, "-"], stdin=io.BytesIO(service("piped").encode()))
    update = source.load()
    assert names(update) == ["Service shop/piped", "Service shop/cart"]
    span = source.locate(update.upserts[0].ref, ("spec", "ports", 0, "port"))
    assert str(span) == "<stdin>:8:11"


def test_a_closed_standard_input_is_an_os_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(OSError, match="Bad file descriptor"):
        Files(["-"]).load()


def test_a_path_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    write(tmp_path, cart=service("cart"))
    with pytest.raises(FileNotFoundError, match="missing"):
        load(tmp_path, tmp_path / "missing.yaml")


def test_a_file_reached_twice_is_read_once(tmp_path: Path) -> None:
    write(tmp_path, a=service("a"))
    (tmp_path / "b.yaml").symlink_to("a.yaml")
    (tmp_path / "c.yaml").hardlink_to(tmp_path / "a.yaml")
    (tmp_path / "loop").symlink_to(".")
    update = load(tmp_path, tmp_path / "b.yaml", tmp_path)
    assert (names(update), said(update)) == (["Service shop/a"], [])


def test_links_are_followed_and_broken_ones_are_nothing(tmp_path: Path) -> None:
    write(tmp_path, away__one=service("one"), away__two__two=service("two"))
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "one.yaml").symlink_to("../away/one.yaml")
    (inside / "two").symlink_to("../away/two")
    (inside / "gone.yaml").symlink_to("nowhere.yaml")
    assert names(load(inside)) == ["Service shop/one", "Service shop/two"]


def test_a_link_to_itself_is_said_and_the_rest_is_read(tmp_path: Path) -> None:
    write(tmp_path, cart=service("cart"))
    (tmp_path / "self.yaml").symlink_to("self.yaml")
    update = load(tmp_path)
    assert (names(update), said(update)) == (["Service shop/cart"], ["DRG1002 self.yaml"])
    assert "symbolic links" in update.diagnostics[0].message


def test_pipes_in_folders_are_not_waited_for(tmp_path: Path) -> None:
    write(tmp_path, cart=service("cart"))
    os.mkfifo(tmp_path / "pipe.yaml")
    assert names(load(tmp_path)) == ["Service shop/cart"]


def test_a_named_pipe_is_read() -> None:
    reader, writer = os.pipe()
    os.write(writer, service("cart").encode())
    os.close(writer)
    try:
        assert names(load(Path(f"/dev/fd/{reader}"))) == ["Service shop/cart"]
    finally:
        os.close(reader)


def test_a_name_that_is_no_utf8_can_be_read_and_shown(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.yaml"
    Path(os.fsdecode(path)).write_text(service("cart") + "---\nkind: [\n")
    update = load(tmp_path)
    assert names(update) == ["Service shop/cart"]
    assert said(update) == ["DRG1001 caf\ufffd.yaml:10:8"]


@pytest.mark.parametrize("below", ["", "sub"])
def test_what_the_system_does_not_hand_out_is_said(unprivileged: Path, below: str) -> None:
    folder = unprivileged / below
    write(folder, cart=service("cart"), closed=service("closed"), shut__x=service("x"))
    (folder / "closed.yaml").chmod(0)
    (folder / "shut").chmod(0)
    update = load(unprivileged)
    assert names(update) == ["Service shop/cart"]
    assert said(update) == ["DRG1002 closed.yaml", "DRG1002 shut"]
    assert {each.message for each in update.diagnostics} == {"cannot be read: permission denied"}


def test_chain_names_every_link_on_the_way(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    (mount / "..2026").mkdir(parents=True)
    (mount / "..2026" / "a.yaml").write_text("")
    (mount / "..data").symlink_to("..2026")
    (mount / "a.yaml").symlink_to("..data/a.yaml")
    assert tree.chain(str(mount / "a.yaml")) == [
        (str(mount), "a.yaml"),
        (str(mount / "..data"), "a.yaml"),
        (str(mount), "..data"),
        (str(mount), "..2026"),
    ]


def test_chain_of_what_is_missing_hangs_on_the_nearest_folder(tmp_path: Path) -> None:
    assert tree.chain(str(tmp_path / "a" / "b" / "c.yaml")) == [(str(tmp_path), "a")]
