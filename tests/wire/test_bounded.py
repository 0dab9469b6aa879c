"""What streams cost that do not read, read slowly, or come and go: a response under way each, and nothing."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest

from dragoman import config, resource
from dragoman.resource import LISTENER
from dragoman.xds.session import Session
from dragoman.xds.wire import Form
from tests.harness import net
from tests.wire import plane
from tests.wire.plane import connect

FORMS = pytest.mark.parametrize("form", list(Form))
_MB = 1024 * 1024
_CHANGES = 200


def _big(number: int) -> resource.Resource:
    """A listener of 1 MB, another one for each number."""
    return resource.make(LISTENER, "l", number.to_bytes(4, "big") + bytes(_MB))


def _resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


async def _change(running: plane.Plane) -> None:
    """Each change with time for the writers to do what they would do."""
    for number in range(1, _CHANGES):
        plane.put(running.view, _big(number))
        await asyncio.sleep(0.002)


@FORMS
async def test_rule_81_clients_that_do_not_read_hold_one_response_each(form: Form) -> None:
    """Of 200 MB of changes three streams keep what was written to them first; 600 MB in queues would show."""
    async with (
        plane.plane(_big(0)) as running,
        connect(running.port, form) as one,
        connect(running.port, form) as two,
        connect(running.port, form) as three,
    ):
        for stream in (one, two, three):
            await stream.send(LISTENER)
        await net.until("three streams", lambda: len(list(running.ledger.streams())) == 3)
        await _change(running)
        gc.collect()
        before = _resident()
        await _change(running)
        gc.collect()
        assert _resident() - before < 100 * _MB


@FORMS
async def test_rule_81_a_slow_client_skips_what_was_replaced(form: Form) -> None:
    """It gets the newest state in fewer responses than there were changes."""
    async with plane.plane(_big(0)) as running, connect(running.port, form) as slow:
        response = await slow.ask(LISTENER)
        await _change(running)
        read = 1
        while not _payload(response, form).startswith((_CHANGES - 1).to_bytes(4, "big")):
            await slow.ack(response)
            response = await slow.read()
            read += 1
        assert read < 10


def _payload(response: Any, form: Form) -> bytes:
    (only,) = response.resources
    found: bytes = only.resource.value if form is Form.DELTA else only.value
    return found


async def test_clients_that_come_and_go_leave_nothing_behind() -> None:
    throttle = config.Throttle(rate=0.0, building=10, patience=20.0, wait=20.0)
    async with plane.plane(_big(0), throttle=throttle) as running:

        async def flap(number: int) -> None:
            for turn in range(10):
                async with connect(running.port, list(Form)[turn % 2]) as stream:
                    if (number + turn) % 3:
                        await stream.send(LISTENER)
                    if (number + turn) % 3 == 2:
                        await stream.read()
                    # Closed without a word, in the middle of a response or before the first request.

        await asyncio.gather(*(flap(number) for number in range(20)))
        await net.until("all gone", lambda: not list(running.ledger.streams()))
        await net.until("released", lambda: set(running.views.uses.values()) <= {0})
        assert not running.view._followers
        async with connect(running.port) as stream:
            assert (await stream.ask(LISTENER)).resources, "every place is free again"
        await net.until("gone", lambda: not list(running.ledger.streams()))
        gc.collect()
        assert [one for one in gc.get_objects() if isinstance(one, Session)] == []
