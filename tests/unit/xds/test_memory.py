"""What a stream holds on to: after any number of names has come and gone, as much as at its start."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from dragoman.xds.snapshot import View
from dragoman.xds.wire import Form
from tests.unit.xds.client import C, Client, E, L, P, R, cluster, endpoints, listener, route, scope

FORMS = pytest.mark.parametrize("form", list(Form))
ROUNDS = 30


def weight(value: Any) -> int:
    """How many entries there are in all that a session, or a part of it, keeps."""
    if isinstance(value, dict | set | frozenset | list | tuple):
        return len(value)
    return 0


def held(client: Client) -> dict[str, int]:
    """The records that have entries, by name."""
    found = {f"session.{name}": weight(one) for name, one in vars(client.session).items()}
    for url, sub in client.session.streams.items():
        slots = {name: getattr(sub, name) for name in sub.__slots__}
        slots["names"] = sub.subscription.names
        found |= {f"{url.rpartition('.')[2]}.{name}": weight(one) for name, one in slots.items()}
    return {name: number for name, number in found.items() if number}


def answer(client: Client, *, bad: str = "bad") -> None:
    """Answers whatever is under way until nothing is."""
    for _ in range(50):
        flying = [sub for sub in client.session.streams.values() if sub.flight is not None]
        if not flying:
            return
        for sub in flying:
            assert sub.flight is not None
            message = client.last[sub.type_url]
            if any(bad in body for body in message.bodies.values()):
                client.nack(sub.type_url, "no name")
            else:
                client.ack(sub.type_url)
    raise AssertionError("never quiet")


@FORMS
def test_names_that_come_and_go_leave_nothing_behind(form: Form) -> None:
    client = Client(View([cluster("a"), endpoints("a"), route("r", "a"), listener("l", "r")]), form)
    for type_url, names in ((C, ()), (E, ("a",)), (L, ()), (R, ("r",)), (P, ())):
        client.ask(type_url, *names)
    answer(client)
    start = held(client)
    for number in range(ROUNDS):
        name = f"x{number}"
        spare = dataclasses.replace(scope(name, "a"), spare=True)
        bad = [route(f"{name}-bad", "a", body="bad"), scope(f"{name}-bad", "a", body="bad")]
        table = f"{name}-r"
        put = [cluster(name), endpoints(name), route(table, name), listener(name, table), spare, *bad]
        client.update(*put)
        names = {E: ["a", name], R: ["r", table, f"{name}-bad"]}
        for type_url, wanted in names.items():
            client.ask(type_url, *(wanted if form is Form.SOTW else wanted[1:]))
        answer(client)
        client.update(gone=[(one.type_url, one.name) for one in put])
        for type_url, wanted in names.items():
            client.ask(type_url, *(wanted[:1] if form is Form.SOTW else ()), drop=wanted[1:])
        answer(client)
        client.wait(60)
        answer(client)
    assert held(client) == start


@FORMS
def test_a_client_that_never_acks_is_no_burden(form: Form) -> None:
    client = Client(View([cluster("a")]), form)
    client.ask(C)
    for number in range(ROUNDS):
        client.update(cluster(f"x{number}", eds=False))
        assert client.wait(20)
    assert len(client.session.streams[C].unproven) <= 2


@FORMS
def test_a_client_that_never_asks_for_endpoints_is_no_burden(form: Form) -> None:
    client = Client(View([cluster("a")]), form)
    client.ask(C)
    client.ack(C)
    for number in range(ROUNDS):
        client.update(cluster(f"x{number}"))
        client.ack(C)
        client.update(gone=[(C, f"x{number}")])
        client.ack(C)
        client.wait(1)
    assert "session._owed" not in held(client)
