"""Rules 39 to 58: delta."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.resource import Resource
from dragoman.xds.snapshot import View
from dragoman.xds.wire import Form
from tests.unit.xds.client import C, Client, E, L, R, S, cluster, endpoints, listener, route, secret


def delta(*resources: Resource, **more: Any) -> Client:
    return Client(View(resources), Form.DELTA, **more)


def test_rule_39_a_response_is_the_difference_to_what_was_sent() -> None:
    client = delta(cluster("a"), cluster("b"))
    [first] = client.ask(C)
    assert first.names == {"a", "b"}
    client.ack(C)
    [second] = client.update(cluster("b", "2"), cluster("c"))
    assert second.names == {"b", "c"}
    assert second.removed == []


def test_rule_40_initial_versions_count_in_the_first_request_only() -> None:
    client = delta(endpoints("a"))
    client.ask(E, "a")
    client.ack(E)
    assert client.ask(E, has={"a": "other"}) == []


@pytest.mark.parametrize("type_url", [C, L])
def test_rule_41_a_returning_wildcard_client_hears_only_what_differs(type_url: str) -> None:
    make: Any = cluster if type_url == C else listener
    view = View([make("same"), make("changed", body="2"), make("new")])
    has = {"same": make("same").version, "changed": make("changed").version, "gone": "x"}
    client = Client(view, Form.DELTA, only=type_url)
    [response] = client.ask(type_url, has=has)
    assert response.names == {"changed", "new"}
    assert response.removed == ["gone"]
    same = Client(view, Form.DELTA)
    assert same.ask(type_url, has={name: r.version for name, r in view.resources(type_url).items()}) == []
    assert len(same.update(make("more"))) == 1


def test_rule_41_a_returning_named_client_hears_only_what_differs() -> None:
    client = delta(endpoints("same"), endpoints("changed", "2"), endpoints("dropped"))
    has = {n: endpoints(n).version for n in ("same", "changed", "gone", "dropped")}
    [response] = client.ask(E, "same", "changed", "gone", has=has)
    assert response.names == {"changed"}
    assert sorted(response.removed) == ["dropped", "gone"]  # it does not ask for `dropped` any more
    assert client.ack(E) == []


def test_rule_42_versions_agree_between_replicas() -> None:
    one, two = delta(cluster("a"), cluster("b")), delta(cluster("b"), cluster("a"))
    [left], [right] = one.ask(C), two.ask(C)
    assert left.versions == right.versions
    assert left.version == right.version


def test_rule_43_a_name_asked_for_again_is_sent_again() -> None:
    client = delta(endpoints("a"))
    client.ask(E, "a")
    client.ack(E)
    [again] = client.ask(E, "a")
    assert again.names == {"a"}


def test_rule_44_a_name_that_does_not_exist_is_said_to_be_gone_and_pushed_when_it_comes() -> None:
    client = delta(endpoints("a"))
    [response] = client.ask(E, "a", "ghost")
    assert response.names == {"a"}
    assert response.removed == ["ghost"]
    client.ack(E)
    [born] = client.update(endpoints("ghost"))
    assert born.names == {"ghost"}


@pytest.mark.parametrize(
    ("type_url", "make"), [(C, cluster), (E, endpoints), (L, listener), (R, route), (S, secret)]
)
def test_rule_45_removed_exactly_once_and_sent_anew_when_it_returns(type_url: str, make: Any) -> None:
    client = delta(make("a"), make("b"))
    client.ask(type_url, "a", "b") if type_url not in (C, L) else client.ask(type_url)
    client.ack(type_url)
    [gone] = client.update(gone=[(type_url, "a")])
    assert gone.removed == ["a"]
    assert not gone.names
    assert client.ack(type_url) == []
    [back] = client.update(make("a"))
    assert back.names == {"a"}
    assert not back.removed


def test_rule_45_what_came_and_went_unsent_is_not_mentioned() -> None:
    client = delta(cluster("a"), only=C)
    client.ask(C)
    client.update(cluster("b"))
    client.update(gone=[(C, "b")])
    assert client.ack(C) == []


def test_rule_46_unsubscription_is_not_answered_and_forgets() -> None:
    client = delta(endpoints("a"), endpoints("b"))
    client.ask(E, "a", "b")
    client.ack(E)
    assert client.ask(E, drop=["a"]) == []
    assert client.update(endpoints("a", "2")) == []
    [again] = client.ask(E, "a")
    assert again.bodies == {"a": "a:2"}


def test_rule_47_unsubscription_beside_a_wildcard_is_answered() -> None:
    client = delta(cluster("a"), only=C)
    client.ask(C)
    client.ack(C)
    client.ask(C, "a", "ghost")
    client.ack(C)
    [there] = client.ask(C, drop=["a"])
    assert there.names == {"a"}
    client.ack(C)
    [absent] = client.ask(C, drop=["ghost"])
    assert absent.removed == ["ghost"]


def test_rule_48_giving_up_the_wildcard_keeps_names() -> None:
    client = delta(cluster("a"), cluster("b"), only=C)
    client.ask(C)
    client.ack(C)
    client.ask(C, "a")
    client.ack(C)
    client.ask(C, drop=["*"])
    [response] = client.update(cluster("a", "2"), cluster("b", "2"))
    assert response.names == {"a"}


def test_rule_49_phantom_unsubscriptions_are_ignored() -> None:
    client = delta(endpoints("a"))
    client.ask(E, "a")
    client.ack(E)
    assert client.ask(E, drop=["b", "", "*"]) == []


@pytest.mark.parametrize("nonce", ["stale", "", "1"])
def test_rule_50_subscriptions_count_whatever_the_nonce(nonce: str) -> None:
    client = delta(endpoints("a"), endpoints("b"))
    client.ask(E, "a")
    client.ack(E)
    client.update(endpoints("a", "2"))
    client.ack(E)
    [response] = client.ask(E, "b", nonce=nonce)
    assert response.names == {"b"}


def test_rule_51_one_request_may_ack_and_subscribe() -> None:
    client = delta(endpoints("a"), endpoints("b"))
    [first] = client.ask(E, "a")
    [second] = client.ask(E, "b", nonce=first.nonce)
    assert second.names == {"b"}
    assert client.recorded.acks == [(E, first.nonce)]


def test_rule_52_without_a_nonce_nothing_is_acked() -> None:
    client = delta(endpoints("a"), endpoints("b"))
    client.ask(E, "a")
    assert client.ask(E, "b") == []  # the first response is still under way
    assert client.recorded.acks == []
    [response] = client.ack(E)
    assert response.names == {"b"}


def test_rule_53_an_ack_alone_is_not_answered() -> None:
    client = delta(cluster("a"))
    client.ask(C)
    assert client.ack(C) == []


def test_rule_54_every_resource_has_a_version_of_its_content() -> None:
    client = delta(cluster("a"))
    [response] = client.ask(C)
    assert response.versions == {"a": cluster("a").version}


def test_rule_55_all_of_a_large_first_answer_comes() -> None:
    client = delta(*(cluster(f"{n:05}", "x" * 2000) for n in range(5000)), only=C)
    client.ask(C)
    while client.session.streams[C].flight is not None:
        client.ack(C)
    assert len(client.has[C]) == 5000
    assert client.ack(C) == []


def test_rule_57_named_clusters_beside_and_without_the_wildcard() -> None:
    client = delta(cluster("a"), cluster("b"), only=C)
    [response] = client.ask(C, "a", "ghost")
    assert response.names == {"a"}
    assert response.removed == ["ghost"]  # on-demand CDS can fail at once
    client.ack(C)
    [rest] = client.ask(C, "*")
    assert rest.names == {"b"}
    client.ack(C)
    [response] = client.ask(C, "b", "ghost")
    assert response.names == {"b"}
    assert response.removed == ["ghost"]
