"""Rules 71 to 83: ACK, NACK, back-pressure; both forms."""

from __future__ import annotations

import pytest

from dragoman.xds.ledger import Ledger, Status, TypeState
from dragoman.xds.session import blamed
from dragoman.xds.snapshot import View
from dragoman.xds.types import Node, Peer
from dragoman.xds.wire import Form
from tests.unit.xds.client import C, Client, E, L, R, cluster, endpoints, listener, route

FORMS = pytest.mark.parametrize("form", list(Form))


@FORMS
def test_rule_71_only_error_detail_makes_a_nack(form: Form) -> None:
    client = Client(View([endpoints("a")]), form)
    [first] = client.ask(E, "a")
    # An unsolicited RDS is answered by Envoy with the new nonce and the old version: that is no NACK.
    client.send(E, nonce=first.nonce, version="", names=["a"] if form is Form.SOTW else ())
    assert client.recorded.nacks == []
    assert client.recorded.acks == [(E, first.nonce)]


@FORMS
def test_rule_72_a_nack_is_never_answered_with_the_same_content(form: Form) -> None:
    client = Client(View([cluster("a"), endpoints("a")]), form)
    client.ask(C)
    client.ask(E, "a")
    for _ in range(5):
        assert client.nack(C, "no") == []
        assert client.nack(E, "no") == []
        assert client.wait(60) == []
    assert len(client.recorded.nacks) == 2  # the later ones answered nothing that was under way


@FORMS
def test_rule_73_different_content_is_sent_at_once_after_a_nack(form: Form) -> None:
    client = Client(View([endpoints("a")]), form)
    client.ask(E, "a")
    client.nack(E)
    [fixed] = client.update(endpoints("a", "2"))
    assert fixed.bodies == {"a": "a:2"}


@FORMS
def test_rule_74_a_nack_with_new_names_is_answered_with_those_alone(form: Form) -> None:
    client = Client(View([endpoints("a"), endpoints("b")]), form)
    [first] = client.ask(E, "a")
    names = ["a", "b"] if form is Form.SOTW else ["b"]
    client.send(E, nonce=first.nonce, names=names, error="no")
    [response] = client.take()
    assert response.names == {"b"}


@FORMS
def test_rule_75_what_was_refused_counts_as_possibly_applied(form: Form) -> None:
    client = Client(View([cluster("a"), cluster("b")]), form, only=C)
    client.ask(C)
    client.ack(C)
    client.update(cluster("a", "2"), cluster("b", "2"))
    client.nack(C, "Error adding/updating cluster(s) b: no")
    [back] = client.update(
        cluster("a"), cluster("b", "3")
    )  # a's old content is news to a proxy that took the new one
    assert back.bodies.items() >= {"a": "a:1", "b": "b:3"}.items()


@FORMS
def test_rule_76_a_nack_names_the_resources_that_the_client_complains_of(form: Form) -> None:
    client = Client(View([cluster("shop"), cluster("shop/a"), cluster("b")]), form)
    client.ask(C)
    client.nack(C, "Error adding/updating cluster(s) shop/a: connect_timeout, b: lb_policy")
    assert client.recorded.nacks == [
        (C, ("b", "shop/a"), "Error adding/updating cluster(s) shop/a: connect_timeout, b: lb_policy")
    ]


def test_rule_76_without_a_name_all_changed_ones_are_named() -> None:
    assert blamed(frozenset({"a", "b"}), "something is wrong") == {"a", "b"}
    assert blamed(frozenset({"a", "b"}), "b.") == {"b"}
    assert blamed(frozenset({"x", "x:80", "x-1"}), "cluster(s) x-1: no") == {"x-1"}


@FORMS
def test_rule_79_one_response_is_under_way_and_newer_state_is_not_queued(form: Form) -> None:
    client = Client(View([endpoints("a"), endpoints("b")]), form)
    client.ask(E, "a", "b")
    for number in range(2, 10):
        assert client.update(endpoints("a", str(number))) == []
    assert len(client.session.streams[E].pending) == 1
    [response] = client.ack(E)
    assert response.bodies == {"a": "a:9"}


@FORMS
def test_rule_80_without_an_ack_the_newest_is_sent_after_a_while(form: Form) -> None:
    client = Client(View([endpoints("a")]), form)
    client.ask(E, "a")
    client.update(endpoints("a", "2"))
    assert client.session.deadline == client.now + 20
    client.update(endpoints("a", "3"))
    assert client.wait(19) == []
    [response] = client.wait(1)
    assert response.bodies == {"a": "a:3"}


@FORMS
def test_rule_81_what_is_pending_is_bounded_by_names(form: Form) -> None:
    client = Client(View([cluster("a"), listener("l", "r"), route("r", "a")]), form)
    client.ask(C)
    client.ask(L)
    client.ack(C)
    for number in range(1000):
        client.view.apply({C: {"a": cluster("a", str(number))}, L: {"l": listener("l", body=str(number))}})
    assert all(len(sub.pending) == 1 for sub in client.session.streams.values())


@FORMS
def test_rule_76_stale_answers_are_counted(form: Form) -> None:
    client = Client(View([endpoints("a")]), form)
    [first] = client.ask(E, "a")
    client.ack(E)
    client.update(endpoints("a", "2"))
    client.ack(E, first)
    assert client.recorded.stales == [E]
    assert client.recorded.acks == [(E, first.nonce)]


@FORMS
def test_rule_76_the_ledger_has_the_last_of_everything(form: Form) -> None:
    now = 1000.0
    ledger = Ledger(clock=lambda: now)
    entry = ledger.open(Node("edge-1"), Peer("test"), "*", form, "ADS")
    client = Client(View([endpoints("a")]), form, recorder=entry)

    def state() -> TypeState:
        [proxy] = ledger.proxies()
        return proxy.types[E]

    [first] = client.ask(E, "a", "ghost")
    assert state().status is Status.STALE
    assert (state().names, state().wildcard) == (2, False)
    assert (state().nonce_sent, state().nonce_acked) == (first.nonce, "")
    now += 1
    client.ack(E)
    assert state().status is Status.SYNCED
    assert state().nonce_acked == first.nonce
    assert state().version_acked == state().version_sent != ""
    assert (state().sent_at, state().acked_at) == (1000.0, 1001.0)

    accepted = state().version_acked
    [second] = client.update(endpoints("a", "2"))
    now += 1
    client.nack(E, "a: no good")
    assert state().status is Status.ERROR
    assert (state().error, state().error_at, state().error_names) == ("a: no good", 1002.0, ("a",))
    assert state().error_version == state().version_sent
    assert state().version_acked == accepted
    assert (state().nonce_sent, state().nonce_acked) == (second.nonce, first.nonce)
    client.ack(E, first)

    client.update(endpoints("a", "3"))
    client.ack(E)
    assert state().status is Status.SYNCED
    assert state().error == ""
    assert (state().responses, state().acks, state().nacks, state().stale_answers) == (3, 2, 1, 1)
    assert state().bytes_sent > 0


@FORMS
def test_rule_76_whoever_watches_hears_of_refusals_and_of_their_end(form: Form) -> None:
    ledger = Ledger()
    told: list[object] = []
    ledger.on_rejection(lambda rejection: told.append((rejection.node, rejection.names, rejection.detail)))
    ledger.on_recovery(lambda node, type_url: told.append((node, type_url)))
    view = View([endpoints("a")])
    entries = [ledger.open(Node("edge-1"), Peer("test"), "*", form, "ADS") for _ in range(2)]
    one, two = (Client(view, form, recorder=entry) for entry in entries)
    for client in (one, two):
        client.ask(E, "a")
        client.nack(E, "a: no good")
    assert told == [("edge-1", ("a",), "a: no good")] * 2
    told.clear()
    view.apply({E: {"a": endpoints("a", "2")}})
    for client in (one, two):
        client.take()
    one.ack(E)
    assert told == []  # the other stream of the same node refuses it still
    entries[1].close()
    assert told == [("edge-1", E)]


@FORMS
def test_a_route_table_with_many_parts_is_asked_once_for_all_streams(form: Form) -> None:
    """Streams of a group share the answer to "does this table use that cluster?"."""
    from dragoman.xds import planner

    view = View([cluster("x"), route("r", "x")])
    clients = [Client(view, form) for _ in range(20)]
    for client in clients:
        client.ask(C)
        client.ack(C)
        client.ask(R, "r")
        client.ack(R)
    planner._common.cache_clear()
    view.apply({C: {"y": cluster("y")}, R: {"r": route("r", "y")}})
    for client in clients:
        client.take()
    assert planner._common.cache_info().misses == 1
