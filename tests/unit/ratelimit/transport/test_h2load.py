"""nghttp2's load generator against the thin transport: another HTTP/2 implementation, and a lot of calls."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dragoman.ratelimit.transport import base, http2
from tests.unit.ratelimit.transport.peer import message
from tests.unit.ratelimit.transport.serving import ECHO, Service

H2LOAD = shutil.which("h2load")
pytestmark = pytest.mark.skipif(H2LOAD is None, reason="h2load (nghttp2-client) is not installed")


@pytest.mark.parametrize(("size", "streams"), [(60, 1), (60, 100), (40_000, 20)])
async def test_every_call_is_answered(tmp_path: Path, size: int, streams: int) -> None:
    calls = 2000
    server = http2.Server(base.Settings(), Service().handlers)
    port = await server.start()
    (tmp_path / "request").write_bytes(message(b"r" * size))
    command = [H2LOAD or "", "-n", str(calls), "-c", "3", "-m", str(streams), "-d", str(tmp_path / "request")]
    command += [
        "-H",
        "content-type: application/grpc",
        "-H",
        "te: trailers",
        f"http://127.0.0.1:{port}{ECHO}",
    ]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = (await process.communicate())[0].decode()
    assert re.search(rf"{calls} succeeded, 0 failed, 0 errored, 0 timeout", output), output
    assert f"status codes: {calls} 2xx" in output
    totals = server.totals()
    await server.stop(0.2)
    assert (totals.answered, totals.faults) == (calls, 0)
