"""Watching through symbolic links, as Kubernetes mounts ConfigMaps and as releases are switched; and what
becomes of a watched path that is itself replaced, removed, or not there yet.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.unit.sources.build import documents, service, write
from tests.unit.sources.watching import following


class Mount:
    """A ConfigMap's volume, updated as the kubelet does: a new folder, then `..data` moved to it."""

    def __init__(self, path: Path, **texts: str) -> None:
        self.path = path
        self.version = 0
        path.mkdir()
        self.update(**texts)

    def update(self, **texts: str) -> None:
        old = self.path / f"..2026_10_19_{self.version:02}"
        self.version += 1
        new = self.path / f"..2026_10_19_{self.version:02}"
        write(new, **texts)
        link = self.path / "..data_tmp"
        link.symlink_to(new.name)
        link.rename(self.path / "..data")
        for name in texts:
            visible = self.path / f"{name}.yaml"
            if not visible.is_symlink():
                visible.symlink_to(f"..data/{name}.yaml")
        for visible in self.path.glob("*.yaml"):
            if visible.stem not in texts:
                visible.unlink()
        if old.exists():
            shutil.rmtree(old)


@pytest.mark.parametrize("named", ["folder", "file", "folder above"])
async def test_a_config_map_is_updated(tmp_path: Path, named: str) -> None:
    mount = Mount(tmp_path / "mount", routes=documents(service("cart", 1), service("till", 1)))
    paths = {"folder": mount.path, "file": mount.path / "routes.yaml", "folder above": tmp_path}
    async with following(paths[named]) as seen:
        for port in (2, 3, 4):
            mount.update(routes=documents(service("cart", port), service("till", port)))
            await seen.until(lambda port=port: seen.port("till") == port)
            assert seen.port("cart") == port
    assert (seen.deleted(), seen.reported()) == (set(), set())


async def test_keys_of_a_config_map_come_and_go(tmp_path: Path) -> None:
    mount = Mount(tmp_path / "mount", cart=service("cart", 1))
    async with following(mount.path) as seen:
        mount.update(cart=service("cart", 1), till=service("till", 1))
        await seen.until_names("cart", "till")
        mount.update(till=service("till", 2))
        await seen.until(lambda: seen.names == {"till"} and seen.port("till") == 2)


@pytest.mark.parametrize("named", ["link", "folder of links", "link in a folder of links"])
async def test_releases_are_switched(tmp_path: Path, named: str) -> None:
    write(tmp_path, releases__1__a=service("a", 1), releases__1__b=service("b", 1))
    write(tmp_path, releases__2__a=service("a", 2), releases__2__c=service("c", 2))
    current = tmp_path / "releases" / "current"
    current.symlink_to("1")
    named_folder = tmp_path / "named"
    named_folder.mkdir()
    (named_folder / "shop").symlink_to("../releases/current")
    paths = {
        "link": current,
        "folder of links": named_folder,
        "link in a folder of links": named_folder / "shop",
    }
    async with following(paths[named]) as seen:
        assert seen.names == {"a", "b"}
        new = tmp_path / "releases" / "new"
        new.symlink_to("2")
        new.rename(current)
        await seen.until_names("a", "c")
        assert seen.port("a") == 2
        write(tmp_path, releases__2__a=service("a", 3))
        await seen.until(lambda: seen.port("a") == 3)
    assert seen.deleted() == {"b"}


async def test_links_to_folders_and_files_come_and_go(tmp_path: Path) -> None:
    write(tmp_path, away__team__a=service("a"), away__b=service("b"))
    inside = tmp_path / "in"
    inside.mkdir()
    async with following(inside) as seen:
        (inside / "team").symlink_to("../away/team")
        (inside / "b.yaml").symlink_to("../away/b.yaml")
        await seen.until_names("a", "b")
        (inside / "team").unlink()
        await seen.until_names("b")
        (inside / "b.yaml").unlink()
        await seen.until_names()
        (inside / "moved").symlink_to("../away/team")
        await seen.until_names("a")
        (inside / "moved").rename(tmp_path / "elsewhere")
        await seen.until_names()


async def test_a_links_target_is_edited_removed_and_made_again(tmp_path: Path) -> None:
    write(tmp_path, away__a=service("a", 1))
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "a.yaml").symlink_to("../away/a.yaml")
    async with following(inside) as seen:
        write(tmp_path, away__a=service("a", 2))
        await seen.until(lambda: seen.port("a") == 2)
        (tmp_path / "away" / "a.yaml").unlink()
        await seen.until_names()
        write(tmp_path, away__a=service("a", 3))
        await seen.until(lambda: seen.port("a") == 3)


@pytest.mark.parametrize("link", ["a.yaml", "z.yaml"])
async def test_a_file_and_a_link_to_it_count_once(tmp_path: Path, link: str) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(service("cart", 1))
    (tmp_path / link).symlink_to(file.name)
    async with following(tmp_path) as seen:
        for port, name in ((2, file.name), (3, link)):
            (tmp_path / name).write_text(documents(service("cart", port), service(f"s{port}")))
            await seen.until_names("cart", f"s{port}")
            assert seen.port("cart") == port
        (tmp_path / link).unlink()
        file.write_text(service("cart", 4))
        await seen.until(lambda: seen.port("cart") == 4 and seen.names == {"cart"})
    assert (seen.deleted(), seen.reported()) == ({"s2", "s3"}, set())


@pytest.mark.parametrize("target", ["../away/till.yaml", "till.yaml"])
async def test_a_link_takes_the_place_of_a_file(tmp_path: Path, target: str) -> None:
    inside = tmp_path / "in"
    write(inside, cart=service("cart"), till=service("till", 1))
    write(tmp_path, away__till=service("other", 1))
    async with following(inside) as seen:
        (inside / "new").symlink_to(target)
        (inside / "new").rename(inside / "cart.yaml")
        await seen.until_names("till", *(["other"] if "away" in target else []))
        path, name = (inside / target, "other" if "away" in target else "till")
        path.write_text(service(name, 2))
        await seen.until(lambda: seen.port(name) == 2 and seen.codes == [])


# The watched path itself


def give_way(path: Path, name: str) -> None:
    """A folder gives way to another, in which `name` stands."""
    write(path.parent, **{f"new__{name}": service(name)})
    path.rename(path.parent / "old")
    (path.parent / "new").rename(path)


async def test_the_folder_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "routes"
    write(path, a=service("a"))
    async with following(f"{path}/") as seen:
        for name in ("b", "c"):
            give_way(path, name)
            await seen.until_names(name)
            shutil.rmtree(tmp_path / "old")
        write(path, d=service("d"))
        await seen.until_names("c", "d")


@pytest.mark.parametrize("depth", ["", "sub", "sub/deeper"])
async def test_the_folder_is_removed_and_made_again(tmp_path: Path, depth: str) -> None:
    top = tmp_path / "top"
    path = top / depth / "routes"
    write(path, a=service("a"))
    async with following(path) as seen:
        for _ in range(2):
            shutil.rmtree(top)
            await seen.until_names()
            write(path, a=service("a"), b=service("b"))
            await seen.until_names("a", "b")
            (path / "b.yaml").unlink()
            await seen.until_names("a")


async def test_a_folder_further_up_is_replaced(tmp_path: Path) -> None:
    write(tmp_path, top__sub__deep__routes__a=service("a"), new__sub__deep__routes__b=service("b"))
    async with following(tmp_path / "top" / "sub" / "deep" / "routes") as seen:
        (tmp_path / "top").rename(tmp_path / "old")
        (tmp_path / "new").rename(tmp_path / "top")
        await seen.until_names("b")


async def test_the_file_is_removed_and_made_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text(service("a", 1))
    async with following(path, tmp_path) as seen:
        path.unlink()
        await seen.until_names()
        path.write_text(service("a", 2))
        await seen.until_names("a")


async def test_a_file_becomes_a_folder_and_a_file_again(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(service("a"))
    async with following(path) as seen:
        path.unlink()
        write(path, b=service("b"))
        await seen.until_names("b")
        shutil.rmtree(path)
        path.write_text(service("c"))
        await seen.until_names("c")
