"""Where Redis is: every form of URL, what is wrong with others, and no password where people look."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragoman.redis import cluster, url
from dragoman.redis.url import Address, Target, Tls


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("redis://cache", Target("single", (Address("cache", 6379),))),
        ("redis://cache:7000/3", Target("single", (Address("cache", 7000),), database=3)),
        ("redis://cache?db=3", Target("single", (Address("cache", 6379),), database=3)),
        ("redis://[::1]:7000", Target("single", (Address("::1", 7000),))),
        ("redis://[::1]", Target("single", (Address("::1", 6379),))),
        ("redis://:p%40ss@cache", Target("single", (Address("cache", 6379),), password="p@ss")),
        ("redis://me:p:w@cache", Target("single", (Address("cache", 6379),), user="me", password="p:w")),
        ("unix:///run/redis.sock?db=1", Target("single", (Address("/run/redis.sock"),), database=1)),
        (
            "redis+sentinel://a,b:7,[::2]/main/2",
            Target("sentinel", (Address("a", 26379), Address("b", 7), Address("::2", 26379)), "main", 2),
        ),
        ("redis+cluster://a,b:7", Target("cluster", (Address("a", 6379), Address("b", 7)))),
        ("rediss://cache", Target("single", (Address("cache", 6379),), tls=Tls())),
        (
            "rediss+cluster://a?ca=/c.pem&certificate=/x.pem&key=/k.pem&server_name=redis",
            Target(
                "cluster",
                (Address("a", 6379),),
                tls=Tls(Path("/c.pem"), Path("/x.pem"), Path("/k.pem"), "redis"),
            ),
        ),
    ],
)
def test_what_a_url_says(text: str, target: Target) -> None:
    assert url.parse(text) == target


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "begins with"),
        ("memcached://a", "begins with"),
        ("redis://", "no host"),
        ("redis://:7000", "no host"),
        ("redis://a:0", "port of a"),
        ("redis://a:70000", "port of a"),
        ("redis://a:x", "port of a"),
        ("redis://a,b", "Sentinel or a cluster"),
        ("redis://a/x", "number of a database"),
        ("redis://a/1/2", "number of a database"),
        ("redis+cluster://a/1", "databases"),
        ("redis+sentinel://a", "name of the master"),
        ("unix://host/path", "whole path"),
        ("redis://a?ca=/x", "rediss"),
        ("rediss://a?certificate=/x", "come together"),
        ("redis://a?timeout=5", "`timeout`"),
    ],
)
def test_what_is_no_url(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        url.parse(text)


@pytest.mark.parametrize("host", ["a:x", "a,b", "a/x", "a?what=1", "a?ca=/x", ":1"])
def test_passwords_are_shown_to_nobody(host: str) -> None:
    secret = "correct-horse"
    with pytest.raises(ValueError) as failure:
        url.parse(f"redis://me:{secret}@{host}")
    assert secret not in str(failure.value)
    target = url.parse(f"redis://me:{secret}@cache")
    assert secret not in repr(target) + str(target)
    assert target.password == secret


def test_a_password_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("s3cret\n")
    (tmp_path / "two").write_text("other")
    where = f"redis+sentinel://a/m?password_file={tmp_path}/one&sentinel_password_file={tmp_path}/two"
    target = url.parse(where)
    assert (target.password, target.sentinel_password) == ("s3cret", "other")
    with pytest.raises(OSError):
        url.parse("redis://a?password_file=/nowhere/at/all")


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        # From the specification of Redis Cluster: the check value of its CRC16, and its hash tags.
        (b"123456789", 0x31C3 % 16384),
        (b"{user1000}.following", cluster.slot(b"user1000")),
        (b"foo{}{bar}", cluster.slot(b"foo{}{bar}")),
        (b"foo{{bar}}zap", cluster.slot(b"{bar")),
        (b"foo{bar}{zap}", cluster.slot(b"bar")),
    ],
)
def test_slots(key: bytes, slot: int) -> None:
    assert cluster.slot(key) == slot
    assert cluster.slot(b"foo{}{bar}") != cluster.slot(b"bar")
