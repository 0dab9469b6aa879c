"""What becomes of a refused response: what else was in it comes through, and who was refused is known for as
long as that lasts. `tests/wire/test_refused.py` asks a real Envoy."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.resource import make
from dragoman.xds.ledger import Ledger, Status
from dragoman.xds.snapshot import View
from dragoman.xds.types import Node, Peer
from dragoman.xds.wire import Form
from tests.unit.xds.client import (
    C,
    Client,
    E,
    L,
    P,
    R,
    S,
    X,
    cluster,
    endpoints,
    listener,
    route,
    scope,
    secret,
)

FORMS = pytest.mark.parametrize("form", list(Form))
SCHEMA = 'name: "b": Proto constraint validation failed'
NAMES = [f"n{number}" for number in range(8)]


def until_silent(client: Client, type_url: str, bad: str) -> None:
    """Answers one type until nothing comes; `bad` is refused."""
    for _ in range(50):
        message = client.last[type_url]
        sent = client.nack(type_url, "no name") if bad in message.bodies else client.ack(type_url)
        if not [each for each in sent if each.type_url == type_url]:
            return
    raise AssertionError("it is never silent")


@FORMS
@pytest.mark.parametrize(("type_url", "make"), [(R, route), (E, endpoints)], ids=["RDS", "EDS"])
def test_a_refused_response_is_halved_until_the_culprit_stands_alone(
    form: Form, type_url: str, make: Any
) -> None:
    client = Client(View([make(name) for name in NAMES]), form)
    client.ask(type_url, *NAMES)
    client.ack(type_url)
    client.update(*(make(name, body="2") for name in NAMES))
    until_silent(client, type_url, "n5")
    assert client.recorded.nacks == [(type_url, ("n5",), "no name")]
    sub = client.session.streams[type_url]
    assert not sub.trials
    assert not sub.dirty
    assert form is Form.DELTA or sub.version == client.view.version(type_url)


def test_rule_75_clusters_beside_one_that_is_not_well_formed_are_sent_again() -> None:
    """[E]: of a response with such a one Envoy takes nothing, whatever its complaint names."""
    client = Client(View([cluster("a", eds=False), cluster("b", eds=False)]), Form.DELTA)
    client.ask(C)
    client.ack(C)
    client.update(cluster("a", "2", eds=False), cluster("b", "bad", eds=False))
    [again] = client.nack(C, SCHEMA)
    assert again.bodies == {"a": "a:2"}
    [last] = client.ack(C)
    assert last.names == {"b"}
    assert client.nack(C, SCHEMA) == []
    assert [names for _, names, _ in client.recorded.nacks] == [("b",)]


def test_a_removal_beside_one_that_is_not_well_formed_is_sent_again() -> None:
    client = Client(View([cluster("a", eds=False), cluster("b", eds=False)]), Form.DELTA)
    client.ask(C)
    client.ack(C)
    client.update(cluster("b", "bad", eds=False), gone=[(C, "a")])
    [again] = client.nack(C, SCHEMA)
    assert again.removed == ["a"]
    assert again.bodies == {}
    assert client.nack(C, "no") == []
    assert [names for _, names, _ in client.recorded.nacks] == [("b",), ("a", "b")]


def test_a_complete_set_that_was_not_taken_goes_on_using_what_it_used() -> None:
    client = Client(
        View([cluster("x"), cluster("y"), listener("a", clusters=["x"]), listener("b")]), Form.SOTW
    )
    for type_url in (C, L):
        client.ask(type_url)
        client.ack(type_url)
    client.update(listener("a", clusters=["y"]), listener("b", body="bad"), gone=[(C, "x")])
    client.nack(L, SCHEMA)
    assert "x" in client.has[C]
    assert client.wait(60) == []
    client.update(listener("b", body="3"))
    client.ack(L)
    assert "x" not in client.has[C]


@FORMS
def test_endpoints_of_a_changed_cluster_wait_for_the_end_of_the_trials_and_come(form: Form) -> None:
    client = Client(View([cluster("a"), *(endpoints(name) for name in ("a", *NAMES))]), form)
    client.ask(C)
    client.ask(E, "a", *NAMES)
    client.ack(C)
    client.ack(E)
    client.update(*(endpoints(name, "2") for name in NAMES))
    client.nack(E, "no name")
    [sent] = client.update(cluster("a", "2"))  # Envoy warms it anew, and waits for its endpoints
    assert sent.type_url == C
    seen: set[str] = set()
    for _ in range(10):
        seen |= {name for each in client.ack(E) for name in each.names}
    assert "a" in seen


@FORMS
def test_a_table_that_is_tried_again_waits_for_its_new_cluster(form: Form) -> None:
    client = Client(View([cluster("a", eds=False), route("q", "a"), route("r", "a")]), form)
    client.ask(C)
    client.ask(R, "q", "r")
    client.ack(C)
    client.ack(R)
    client.update(route("q", "a", body="2"), route("r", "a", body="2"))
    client.nack(R, "no name")
    assert client.last[R].names == {"q"}
    client.update(cluster("b", eds=False), route("r", "b"))
    assert client.ack(R) == []
    [sent] = client.ack(C)
    assert sent.names == {"r"}
    client.ack(R)
    assert not client.session.streams[R].dirty


def test_what_others_accept_heals_nothing() -> None:
    ledger = Ledger()
    entry = ledger.open(Node("edge-1"), Peer("test"), "*", Form.DELTA, "ADS")
    client = Client(View([cluster("a"), cluster("b")]), Form.DELTA, recorder=entry)
    client.ask(C)
    client.ack(C)
    client.update(cluster("a", "bad"))
    client.nack(C, "a: no")
    client.update(cluster("b", "2"))
    client.ack(C)
    assert entry.types[C].error_names == ("a",)
    assert entry.types[C].status is Status.ERROR
    client.update(cluster("b", "3"))
    client.nack(C, "b: neither")
    assert (entry.types[C].error_names, entry.types[C].error) == (("a", "b"), "a: no; b: neither")
    client.update(cluster("b", "4"))
    client.ack(C)
    assert (entry.types[C].error_names, entry.types[C].error) == (("a",), "a: no")
    assert entry.types[C].nacks == 2
    client.update(cluster("a", "5"))
    client.ack(C)
    assert entry.types[C].status is Status.SYNCED


@FORMS
def test_what_is_not_asked_for_any_more_is_not_refused(form: Form) -> None:
    client = Client(View([route("q", "a"), route("r", "a", body="bad")]), form)
    client.ask(R, "q")
    client.ack(R)
    client.ask(R, *(("q", "r") if form is Form.SOTW else ("r",)))
    client.nack(R, "r: no")
    client.ask(R, *(("q",) if form is Form.SOTW else ()), drop=("r",))
    assert client.recorded.heals == [(R, ())]
    assert not client.session.streams[R].nacked


def test_what_is_gone_without_a_word_is_not_refused() -> None:
    client = Client(View([route("r", "a", body="bad")]), Form.SOTW)
    client.ask(R, "r")
    client.nack(R, "r: no")
    assert client.update(gone=[(R, "r")]) == []
    assert client.recorded.heals == [(R, ())]


def test_one_that_is_left_of_a_refused_response_is_sent_again() -> None:
    """The bad one was gone before the refusal came."""
    client = Client(View([cluster("a", eds=False), cluster("b", eds=False)]), Form.DELTA)
    client.ask(C)
    client.ack(C)
    client.update(cluster("a", "2", eds=False), cluster("b", "bad", eds=False))
    client.update(gone=[(C, "b")])
    [again] = client.nack(C, SCHEMA)
    assert again.bodies == {"a": "a:2"}
    [last] = client.ack(C)
    assert last.removed == ["b"]


@FORMS
def test_certificates_of_a_refused_response_come_through_and_count_as_refused(
    form: Form,
) -> None:
    """[E]: Envoy ACKs the bad one when it sees it again."""
    client = Client(View([secret(name) for name in NAMES]), form)
    client.ask(S, *NAMES)
    client.ack(S)
    client.update(*(secret(name, "2") for name in NAMES))
    client.nack(S, "no certificate")
    seen: set[str] = set()
    while client.session.streams[S].flight is not None:
        seen |= client.last[S].names
        client.ack(S)
    assert seen == set(NAMES)
    sub = client.session.streams[S]
    assert not sub.trials
    assert sub.nacked.keys() == set(NAMES)
    client.update(secret("n1", "3"))
    client.ack(S)
    assert sub.nacked.keys() == set(NAMES) - {"n1"}
    assert client.recorded.heals[-1] == (S, tuple(sorted(set(NAMES) - {"n1"})))
    client.update(*(secret(name, "4") for name in NAMES))
    client.ack(S)
    assert not sub.nacked
    assert not sub.suspects
    assert client.recorded.heals[-1] == (S, ())


def test_a_scope_that_was_removed_beside_a_bad_one_is_not_refused() -> None:
    client = Client(View([scope("s"), scope("t")]), Form.DELTA)
    client.ask(P)
    client.ack(P)
    client.update(scope("s", body="bad"), gone=[(P, "t")])
    assert client.nack(P, "no name") == []
    assert client.recorded.nacks == [(P, ("s",), "no name")]
    client.update(scope("s", body="2"))
    client.ack(P)
    assert client.recorded.heals == [(P, ())]


def test_scopes_that_are_owed_wait_also_while_a_trial_does() -> None:
    """One that is tried again waits for its cluster; what is owed besides is not forgotten meanwhile."""
    view = View([*(scope(name) for name in NAMES), make(X, "m", b"1")])
    client = Client(view, Form.DELTA)
    for type_url, names in ((C, ()), (P, ()), (X, ("m",))):
        client.ask(type_url, *names)
        client.ack(type_url)
    client.update(scope("n0", body="2"), scope("n1", body="2"))
    client.nack(P, "no name")
    client.update(cluster("new", eds=False), scope("n0", "new", body="3"), scope("n1", "new", body="3"))
    assert client.ack(P) == []
    client.update(make(X, "m", b"2", {P: NAMES}))  # Envoy begins to watch scopes, and has to have all of them
    client.ack(X)
    client.ack(C)
    seen: set[str] = set()
    for _ in range(10):
        seen |= client.last[P].names
        client.ack(P)
    assert seen == set(NAMES)
