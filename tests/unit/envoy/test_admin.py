"""The admin client against a socket that answers as Envoy may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dragoman.envoy.admin import Admin, AdminError

SIZED = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
CLOSED = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello"
REFUSED = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 16\r\n\r\nPRE_INITIALIZING"
STATS = b'HTTP/1.1 200 OK\r\n\r\n{"stats": [{"name": "a", "value": 1}, {"histograms": {}}]}'


@asynccontextmanager
async def answering(answer: bytes, folder: Path) -> AsyncIterator[tuple[Admin, list[bytes]]]:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).splitlines()[0])
        writer.write(answer)
        await writer.drain()
        writer.close()

    path = str(folder / "admin.sock")
    server = await asyncio.start_unix_server(serve, path)
    async with server:
        yield Admin(path=path), asked


@pytest.mark.parametrize("answer", [SIZED, CHUNKED, CLOSED])
async def test_bodies_in_every_form(answer: bytes, tmp_path: Path) -> None:
    async with answering(answer, tmp_path) as (admin, asked):
        assert await admin.get("/stats") == "hello"
        assert await admin.ready()
    assert asked == [b"GET /stats HTTP/1.1", b"GET /ready HTTP/1.1"]


async def test_refusals_say_why(tmp_path: Path) -> None:
    async with answering(REFUSED, tmp_path) as (admin, _):
        assert not await admin.ready()
        assert (await admin.request("/ready")).text == "PRE_INITIALIZING"
        with pytest.raises(AdminError, match="503 PRE_INITIALIZING"):
            await admin.post("/quitquitquit")


async def test_statistics_by_name(tmp_path: Path) -> None:
    async with answering(STATS, tmp_path) as (admin, asked):
        assert await admin.stats("^a|b$") == {"a": 1}
    assert asked == [b"GET /stats?format=json&filter=%5Ea%7Cb%24 HTTP/1.1"]


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx", b"nonsense\r\n\r\n"]
)
async def test_broken_answers_are_errors(answer: bytes, tmp_path: Path) -> None:
    async with answering(answer, tmp_path) as (admin, _):
        with pytest.raises(AdminError):
            await admin.get("/stats")


async def test_nobody_there(tmp_path: Path) -> None:
    admin = Admin(path=str(tmp_path / "none.sock"))
    assert not await admin.ready()
    with pytest.raises(AdminError, match=r"GET /stats at unix:.*none\.sock"):
        await admin.get("/stats")
