"""Asking for tokens: once for many, remembered, never an error."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import orjson

from dragoman.authz.cache import Cache, Clock
from dragoman.authz.introspection import Tokens
from dragoman.authz.metrics import Metrics
from dragoman.authz.verdicts import Denial, Grant, Trouble
from dragoman.ir import model as ir
from tests.unit.authz.test_cache import Time
from tests.unit.authz.test_claims import TOLD


class Issuer:
    """Implements `client.Ask` from memory."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: bytes | Trouble = orjson.dumps({"active": True, "sub": "ann"})
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, told: ir.Introspector, token: str) -> bytes | Trouble:
        self.asked.append(token)
        await self.gate.wait()
        return self.answer


def tokens(issuer: Issuer, time: Time, told: ir.Introspector = TOLD) -> Tokens:
    return Tokens(told, issuer, Metrics(), Cache(100, time.clock), time.clock)


async def test_many_requests_are_one_question() -> None:
    issuer = Issuer()
    issuer.gate.clear()
    found = tokens(issuer, Time())
    waiting = [asyncio.create_task(found.find("t")) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # whoever asked first goes away
    await asyncio.sleep(0)
    issuer.gate.set()
    verdicts = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(verdicts[0], asyncio.CancelledError)
    assert all(isinstance(one, Grant) for one in verdicts[1:])
    assert issuer.asked == ["t"]
    assert isinstance(found.known("t"), Grant)


async def test_errors_are_shared_and_forgotten() -> None:
    issuer = Issuer()
    found = tokens(issuer, Time())
    for answer in (Trouble("timeout"), b"nonsense"):
        issuer.answer, issuer.asked = answer, []
        verdicts = await asyncio.gather(*(found.find("t") for _ in range(5)))
        assert all(isinstance(one, Trouble) for one in verdicts)
        assert issuer.asked == ["t"]
        assert found.known("t") is None
    issuer.answer = orjson.dumps({"active": True})
    assert isinstance(await found.find("t"), Grant), "the next one may have more luck"


async def test_inactive_is_remembered_for_a_short_while() -> None:
    issuer, time = Issuer(), Time()
    issuer.answer = orjson.dumps({"active": False})
    found = tokens(issuer, time)
    await found.find("t")
    time.pass_by(9.9)
    assert isinstance(found.known("t"), Denial)
    time.pass_by(0.1)
    assert found.known("t") is None


async def test_a_token_is_never_remembered_beyond_its_end() -> None:
    issuer, time = Issuer(), Time()
    issuer.answer = orjson.dumps({"active": True, "exp": time.wall + 30})
    found = tokens(issuer, time)
    assert isinstance(await found.find("t"), Grant)
    time.pass_by(29.9)
    assert isinstance(found.known("t"), Grant)
    time.pass_by(0.1)
    assert found.known("t") is None
    refusal = await found.find("t")
    assert isinstance(refusal, Denial)
    assert refusal.error == "token_expired"


async def test_a_token_that_is_not_valid_yet_is_asked_for_again_when_it_is() -> None:
    issuer, time = Issuer(), Time()
    issuer.answer = orjson.dumps({"active": True, "nbf": time.wall + 3})
    found = tokens(issuer, time)
    assert isinstance(await found.find("t"), Denial)
    time.pass_by(2.9)
    assert isinstance(found.known("t"), Denial)
    time.pass_by(0.1)
    assert found.known("t") is None
    assert isinstance(await found.find("t"), Grant)


async def test_nothing_is_remembered_where_that_is_said() -> None:
    issuer = Issuer()
    found = tokens(issuer, Time(), replace(TOLD, ttl=0.0, negative=0.0))
    await found.find("t")
    assert found.known("t") is None
    assert len(found.cache) == 0


async def test_what_is_no_token_is_not_asked_about() -> None:
    issuer = Issuer()
    found = tokens(issuer, Time())
    for token in ("a b", "a,b", "a\u00e9", "x" * 9000, "a\x7f"):
        assert isinstance(found.known(token), Denial)
    assert issuer.asked == []


async def test_the_end_leaves_nothing_behind() -> None:
    issuer = Issuer()
    issuer.gate.clear()
    found = tokens(issuer, Time())
    waiting = asyncio.create_task(found.find("t"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await found.stop()
    await asyncio.gather(waiting, return_exceptions=True)
    assert len(asyncio.all_tasks()) == 1


def test_clocks() -> None:
    assert Clock().wall() > 1_700_000_000
