"""Scopes (SRDS): order, and what becomes of refused ones. `tests/wire/test_scopes.py` asks a real Envoy."""

from __future__ import annotations

import dataclasses

import pytest

from dragoman.resource import SCOPE, Resource, make
from dragoman.xds import planner
from dragoman.xds.snapshot import View
from dragoman.xds.wire import Form
from tests.unit.xds.client import C, Client, E, L, P, R, X, cluster, endpoints, listener, route, scope

FORMS = pytest.mark.parametrize("form", list(Form))
NAMES = [f"s{number}" for number in range(8)]


def looking(*scopes: str) -> Resource:
    """A listener that looks in scopes."""
    return make(L, "l", f"l:{scopes}".encode(), {SCOPE: scopes})


def bare(view: View, form: Form) -> Client:
    client = Client(view, form)
    for type_url in (C, L, P):
        client.ask(type_url)
        client.ack(type_url)
    return client


@FORMS
def test_a_listener_follows_its_scopes_and_they_follow_their_clusters(form: Form) -> None:
    client = bare(View([cluster("a"), endpoints("a"), looking()]), form)
    client.ask(E, "a")
    client.ack(E)
    sent = client.update(cluster("b", eds=False), scope("s", "b"), looking("s"))
    assert [each.type_url for each in sent] == [C]
    assert [each.type_url for each in client.ack(C)] == [P, L]


@FORMS
@pytest.mark.parametrize("type_url", [L, X], ids=["a listener", "a connection manager"])
def test_scopes_follow_once_more_whoever_begins_to_look_in_them(form: Form, type_url: str) -> None:
    """Envoy may have ended its watch, and does not say so."""
    bodies = {name: make(type_url, "m", name.encode(), {SCOPE: ["s"]}) for name in ("2", "3")}
    client = bare(View([scope("s"), make(type_url, "m", b"1")]), form)
    if type_url == X:
        client.ask(X, "m")
        client.ack(X)
    sent = client.update(bodies["2"])
    assert [each.type_url for each in sent] == [type_url, P]
    assert sent[1].names == {"s"}
    client.ack(type_url)
    client.ack(P)
    assert [each.type_url for each in client.update(bodies["3"])] == [type_url]


@FORMS
def test_scopes_go_after_the_listener_that_looked_in_them(form: Form) -> None:
    client = bare(View([scope("s"), looking("s")]), form)
    sent = client.update(looking(), gone=[(P, "s")])
    assert [each.type_url for each in sent] == [L]
    [last] = client.ack(L)
    assert last.type_url == P
    assert "s" not in client.has[P]


def two(*scopes: str) -> list[Resource]:
    return [make(L, name, f"{name}:{scopes}".encode(), {SCOPE: scopes}) for name in ("l1", "l2")]


def second(client: Client, listeners: list[Resource]) -> bool:
    """Whether that is what the client has of the second one."""
    return client.has[L]["l2"] == listeners[1].version


@FORMS
def test_of_two_listeners_one_begins_to_look_in_scopes(form: Form) -> None:
    """Envoy has the other wait for nothing: it goes when the scopes are there."""
    client = Client(View(two()), form)
    for type_url in (C, L):
        client.ask(type_url)
        client.ack(type_url)
    [first] = client.update(scope("s"), *two("s"))
    assert first.type_url == L
    assert second(client, two())
    assert client.ack(L) == []
    [scopes] = client.ask(P)
    assert scopes.names == {"s"}
    assert [each.type_url for each in client.ack(P)] == [L, P]
    assert second(client, two("s"))
    # Envoy ends its watch with the last that looks, and does not say so: so it is again.
    client.ack(L)
    client.ack(P)
    client.update(*two(), gone=[(P, "s")])
    client.ack(L)
    client.ack(P)
    sent = client.update(scope("s"), *two("s"))
    assert [each.type_url for each in sent] == [P, L]
    assert second(client, two())
    client.ack(L)
    client.ack(P)
    client.ack(P)
    assert second(client, two("s"))


@FORMS
def test_nobody_waits_for_scopes_that_are_never_asked_for(form: Form) -> None:
    client = Client(View(two()), form)
    for type_url in (C, L):
        client.ask(type_url)
        client.ack(type_url)
    client.update(scope("s"), *two("s"))
    assert client.ack(L) == []
    assert [each.type_url for each in client.wait(60)] == [L]
    assert second(client, two("s"))


def test_a_refused_response_is_halved_until_the_culprit_stands_alone() -> None:
    client = bare(View([scope(name) for name in NAMES]), Form.DELTA)
    sent = client.update(*(scope(name, body="2") for name in NAMES))
    for _ in range(50):
        if not sent:
            break
        [message] = sent
        names = set(message.bodies)
        sent = client.nack(P, "no name") if "s5" in names else client.ack(P)
    assert not sent
    assert client.recorded.nacks == [(P, ("s5",), "no name")]
    assert not any(part for part in client.session.streams[P].trials)


def test_what_is_sent_again_looks_new() -> None:
    client = bare(View([scope(name) for name in NAMES]), Form.DELTA)
    [first] = client.update(*(scope(name, body="2") for name in NAMES))
    [second] = client.nack(P)
    name = min(second.bodies)
    assert second.bodies[name] == first.bodies[name] + "+"
    assert second.versions[name] != first.versions[name]
    [third] = client.nack(P)
    assert third.bodies[min(third.bodies)] == first.bodies[name] + "++"


def test_a_change_during_the_trials_is_not_lost() -> None:
    client = bare(View([scope(name) for name in NAMES]), Form.DELTA)
    client.update(*(scope(name, body="2") for name in NAMES))
    client.nack(P)
    client.update(scope("s0", body="3"), gone=[(P, "s7")])
    for _ in range(20):
        message = client.last[P]
        if "s5" in message.bodies:
            client.nack(P)
        else:
            client.ack(P)
    assert "s7" not in client.has[P]
    assert client.recorded.nacks[-1][1] == ("s5",)
    sub = client.session.streams[P]
    assert not sub.pending
    assert not sub.trials


def test_trials_of_what_is_gone_end() -> None:
    client = bare(View([scope(name) for name in NAMES]), Form.DELTA)
    client.update(*(scope(name, body="2") for name in NAMES))
    client.nack(P)
    client.update(gone=[(P, name) for name in NAMES[4:]])
    client.ack(P)
    client.ack(P)
    assert set(client.has[P]) == set(NAMES[:4])


def test_a_culprit_stays_one_until_it_is_taken() -> None:
    client = bare(View([scope(name) for name in NAMES]), Form.DELTA)
    client.update(scope("s1", body="2"))
    client.nack(P, "bad")
    client.update(scope("s2", body="2"))
    client.ack(P)
    assert client.session.streams[P].nacked.keys() == {"s1"}
    client.update(scope("s1", body="3"))
    client.ack(P)
    assert client.session.streams[P].nacked == {}


@FORMS
def test_spare_ones_go_out_the_less_often_the_larger_they_are(form: Form) -> None:
    client = Client(View([cluster("a"), route("r", "a"), listener("l", "r")]), form)
    for type_url in (C, L):
        client.ask(type_url)
        client.ack(type_url)
    client.ask(R, "r")
    client.ack(R)
    text = "x" * 1_000_000
    spare = [dataclasses.replace(route("r", "a", body=f"{n}{text}"), spare=True) for n in range(3)]
    [first] = client.update(spare[0])
    assert first.bodies["r"].startswith("r:0")
    client.ack(R)
    assert client.update(spare[1]) == []
    assert client.update(spare[2]) == []
    assert client.wait(planner.PACE * len(text)) == []
    [later] = client.wait(planner.PACE * 100)
    assert later.bodies["r"].startswith("r:2")
