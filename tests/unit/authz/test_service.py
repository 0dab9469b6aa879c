"""The companion over bytes: policies that come, change and go; health; what it counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from dragoman import proto
from dragoman.authz import keys
from dragoman.authz.metrics import Metrics
from dragoman.authz.service import BadRequest, Service
from dragoman.authz.verdicts import Trouble
from dragoman.envoy.filters import described
from dragoman.ir import model as ir
from dragoman.proto.envoy.service.auth import v3 as auth
from dragoman.proto.google.protobuf import Value
from dragoman.proto.grpc.health import v1 as health
from dragoman.redis import client
from tests.unit.authz.test_cache import Time
from tests.unit.authz.test_claims import TOLD
from tests.unit.authz.test_introspection import Issuer

READER = ir.KeyReader("shop/keys", "shop", ir.Places((("x-api-key", ""),)))


class Store:
    """Implements `keys.Runner`: what Redis would answer."""

    def __init__(self, answer: Any, *more: Any) -> None:
        self.answer, self._more = answer, [*more]
        self.asked: list[list[bytes]] = []
        self.told: list[list[bytes]] = []

    async def run(self, script: object, names: list[bytes], arguments: list[bytes]) -> Any:
        self.asked.append(names)
        self.told.append(arguments)
        if len(self.asked) > 1 and self._more:
            self.answer = self._more.pop(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Desk:
    """A service, and who asks it."""

    def __init__(self, *asked: ir.Asked, store: keys.Runner | None = None) -> None:
        self.issuer, self.time, self.metrics = Issuer(), Time(), Metrics()
        self.service = Service(self.issuer, store, self.metrics, clock=self.time.clock)
        if asked:
            self.service.load(asked)

    async def ask(
        self, headers: dict[str, str] | None = None, path: str = "/", **context: str
    ) -> auth.CheckResponse:
        request = auth.CheckRequest()
        request.attributes.context_extensions.update(context)
        http = request.attributes.request.http
        http.path, http.host = path, "shop.example"
        http.headers.update(headers or {})
        return auth.CheckResponse.FromString(await self.service.check(proto.serialize(request)))

    async def token(self, token: str = "t") -> int:
        """The HTTP status that a token gets; 200 where it passes."""
        found = await self.ask({"authorization": f"Bearer {token}"}, introspection="shop/tokens")
        return int(found.denied_response.status.code) or 200

    def counted(self, name: str) -> float:
        lines = self.metrics.text().decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), 0.0)


async def test_a_new_secret_keeps_what_is_remembered_and_another_issuer_does_not() -> None:
    desk = Desk(TOLD)
    assert await desk.token() == 200
    desk.service.load([replace(TOLD, client_secret="next", timeout=1.0, fail_open=True)])
    assert await desk.token() == 200
    assert desk.issuer.asked == ["t"]
    desk.service.load([replace(TOLD, audiences=("shop",))])
    assert await desk.token() == 401
    assert desk.issuer.asked == ["t", "t"]


async def test_a_policy_that_is_gone_is_known_for_a_while() -> None:
    desk = Desk(TOLD, READER)
    desk.service.load([])
    desk.time.pass_by(59)
    desk.service.load([])
    assert await desk.token() == 200
    desk.time.pass_by(2)
    desk.service.load([])
    assert await desk.token() == 503, "nobody knows: that is no yes"
    desk.service.load([TOLD])
    assert await desk.token() == 200


async def test_who_names_no_policy_does_not_pass() -> None:
    desk = Desk(TOLD)
    found = await desk.ask({"authorization": "Bearer t"})
    assert found.denied_response.status.code == 503
    assert desk.issuer.asked == []


async def test_policies_are_apart() -> None:
    other = replace(TOLD, policy="shop/other")
    desk = Desk(TOLD, other)
    await desk.token()
    await desk.ask({"authorization": "Bearer t"}, introspection="shop/other")
    assert desk.issuer.asked == ["t", "t"], "an answer to one is none to another"


async def test_what_nobody_can_read_lets_nobody_in() -> None:
    for answer in ([b"passes"], None, [], [b"passes", b"", b"", b"", -1, 0, 0], b"OK", [b"malformed"]):
        lenient = replace(READER, fail_open=True)
        desk = Desk(lenient, store=Store(answer))
        found = await desk.ask({"x-api-key": "k"}, keys="shop/keys")
        assert found.denied_response.status.code == 503, answer


async def test_without_redis() -> None:
    for store in (None, Store(client.Unavailable("down"))):
        desk = Desk(READER, store=store)
        assert (await desk.ask({"x-api-key": "k"}, keys="shop/keys")).denied_response.status.code == 503
        desk.service.load([replace(READER, fail_open=True)])
        found = await desk.ask({"x-api-key": "k"}, keys="shop/keys")
        assert found.status.code == 0
        assert not found.ok_response.headers


async def test_what_may_be_missing_and_who_could_not_be_asked() -> None:
    """A route says the former, the answer the latter, in metadata."""
    tokens = replace(TOLD, fail_open=True)
    desk = Desk(tokens, replace(READER, fail_open=True), store=Store(client.Unavailable("down")))
    both = {"introspection": "shop/tokens", "keys": "shop/keys"}
    for optional, status in (("", 401), ("keys", 401), ("introspection", 401), ("introspection,keys", 200)):
        found = await desk.ask(optional=optional, **both)
        assert (found.denied_response.status.code or 200) == status, optional
        assert not found.dynamic_metadata.fields or status == 401
    found = await desk.ask({"x-api-key": "k"}, optional="introspection", **both)
    opened = found.dynamic_metadata.fields["open"].struct_value.fields
    assert dict(opened) == {"keys": Value(bool_value=True)}
    desk.issuer.answer = Trouble("timeout")
    headers = {"x-api-key": "k", "authorization": "Bearer t"}
    opened = (await desk.ask(headers, **both)).dynamic_metadata.fields["open"].struct_value.fields
    assert set(opened) == {"introspection", "keys"}


async def test_a_record_that_names_a_consumer() -> None:
    """What is known of that one counts, and is looked at before anything is counted."""
    passes = [b"passes", b"app", b"admins", b"free", -1, 0, 0]
    app = ir.Client("app", ir.KeySet("shop"), ("staff",), "gold")
    told = ir.Members("shop", (app,)), ir.Members("other", (ir.Client("bob", ir.KeySet("other")),))

    async def found(name: bytes, reader: ir.KeyReader, last: Any = passes) -> tuple[int, int, list[str]]:
        store = Store([b"consumer", name], last)
        answer = await Desk(reader, *told, store=store).ask({"x-api-key": "k"}, keys="shop/keys")
        headers = [one.header.value for one in answer.ok_response.headers]
        assert [one[2] for one in store.told[1:]] == [name] * (len(store.told) - 1)
        return int(answer.denied_response.status.code) or 200, len(store.told), headers

    mine = [described.client(app, "key")]
    assert await found(b"app", READER) == (200, 2, mine)
    assert await found(b"app", replace(READER, groups=("staff",))) == (200, 2, mine)
    assert await found(b"app", replace(READER, consumers=("app",))) == (200, 2, mine)
    assert await found(b"app", replace(READER, groups=("admins",))) == (403, 1, [])
    for name in (b"bob", b"", b"app,", b"\xff"):
        assert await found(name, READER) == (401, 1, []), name
    assert await found(b"app", READER, [b"consumer", b"bob"]) == (503, 2, []), "it changed meanwhile"
    desk = Desk(READER, *told, store=Store([b"consumer", b"app"], passes))
    desk.service.load([READER])
    assert (await desk.ask({"x-api-key": "k"}, keys="shop/keys")).denied_response.status.code == 401


async def test_redis_never_hears_the_key() -> None:
    store = Store([b"unknown"])
    await Desk(READER, store=store).ask({"x-api-key": "secret-key"}, keys="shop/keys")
    assert len(store.asked) == 1
    assert all(name.startswith(b"dragoman:key:shop:{") and b"secret" not in name for name in store.asked[0])


async def test_the_challenge_holds_no_more_than_it_should() -> None:
    desk = Desk(TOLD)
    request = auth.CheckRequest()
    request.attributes.context_extensions["introspection"] = "shop/tokens"
    for host, realm in (("shop.example:80", "shop.example:80"), ('a", error="x', "api"), ("", "api")):
        request.attributes.request.http.host = host
        found = auth.CheckResponse.FromString(await desk.service.check(proto.serialize(request)))
        headers = {one.header.key: one.header.value for one in found.denied_response.headers}
        assert headers["www-authenticate"] == f'Bearer realm="{realm}"'
        assert orjson.loads(found.denied_response.body)["error"] == "unauthorized"


async def test_counts() -> None:
    desk = Desk(TOLD)
    for token in ("t", "t", "u"):
        await desk.token(token)
    policy = 'policy="shop/tokens"'
    assert desk.counted(f'dragoman_authz_requests_total{{outcome="allowed",{policy}}}') == 3
    assert desk.counted(f'dragoman_authz_cache_total{{outcome="hit",{policy}}}') == 1
    assert desk.counted(f'dragoman_authz_cache_total{{outcome="miss",{policy}}}') == 2
    assert desk.counted(f"dragoman_authz_cache_entries{{{policy}}}") == 2
    assert desk.counted(f'dragoman_authz_introspection_seconds_count{{outcome="active",{policy}}}') == 2


async def test_health() -> None:
    desk = Desk()
    asked = proto.serialize(health.HealthCheckRequest(service="authz"))

    def state() -> int:
        found = desk.service.health(asked)
        assert found is not None
        return int(health.HealthCheckResponse.FromString(found).status)

    assert state() == health.HealthCheckResponse.NOT_SERVING
    watch = desk.service.watch(asked)
    states = [health.HealthCheckResponse.FromString(await anext(watch)).status]
    desk.service.load([])
    states.append(health.HealthCheckResponse.FromString(await anext(watch)).status)
    assert state() == health.HealthCheckResponse.SERVING
    desk.service.drain()
    states.append(health.HealthCheckResponse.FromString(await anext(watch)).status)
    assert state() == health.HealthCheckResponse.NOT_SERVING
    assert states == [2, 1, 2]
    assert desk.service.health(proto.serialize(health.HealthCheckRequest(service="other"))) is None
    with pytest.raises(BadRequest):
        desk.service.health(b"\xff")
    with pytest.raises(BadRequest):
        await desk.service.check(b"\xff")
