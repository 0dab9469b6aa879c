"""Rules 14 to 29: state of the world."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.xds.snapshot import View
from dragoman.xds.wire import Form
from tests.unit.xds.client import C, Client, E, L, R, S, cluster, endpoints, listener, route, secret


def sotw(*resources: object, **more: object) -> Client:
    return Client(View(resources), Form.SOTW, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("nonce", ["", "17", "from-another-stream"])
def test_rule_14_first_request_is_answered_whatever_its_nonce(nonce: str) -> None:
    client = sotw(cluster("a"))
    [response] = client.ask(C, nonce=nonce)
    assert response.names == {"a"}


def test_rule_15_an_ack_is_not_answered() -> None:
    client = sotw(cluster("a"), endpoints("a"))
    client.ask(C)
    assert client.ack(C) == []
    client.ask(E, "a")
    assert client.ack(E) == []
    assert client.recorded.acks == [(C, "1"), (E, "2")]


def test_rule_16_endpoints_follow_a_cluster_change_and_a_repeated_ack_is_not_answered_again() -> None:
    client = sotw(cluster("a"), endpoints("a"))
    client.ask(C)
    client.ask(E, "a")
    client.ack(C)
    client.ack(E)
    sent = client.update(cluster("a", "2"))
    assert [m.kind for m in sent] == ["CDS", "EDS"]
    client.ack(E)
    assert client.ack(E) == []  # what Envoy sends after the CDS change: the same version, nonce and names
    assert client.recorded.stales == []


def test_rule_17_a_stale_nonce_is_no_answer_but_its_names_count() -> None:
    client = sotw(endpoints("a"), endpoints("b"), endpoints("c"))
    [first] = client.ask(E, "a")
    client.ack(E)
    [second] = client.update(endpoints("a", "2"))
    assert client.ask(E, "a", "b", nonce=first.nonce) == []  # withheld until the latest nonce is answered
    [third] = client.ack(E, second)
    assert third.names == {"b"}
    assert client.recorded.stales == [E]


def test_rule_17_a_stale_nack_is_not_a_nack() -> None:
    client = sotw(endpoints("a"))
    [first] = client.ask(E, "a")
    client.ack(E)
    client.update(endpoints("a", "2"))
    client.nack(E, "late", message=first)
    assert client.recorded.nacks == []


def test_rule_18_an_empty_nonce_later_on_is_a_names_update_only() -> None:
    client = sotw(endpoints("a"), endpoints("b"))
    client.ask(E, "a")
    client.ack(E)
    assert client.ask(E, "a", nonce="") == []
    [response] = client.ask(E, "a", "b", nonce="")
    assert response.names == {"b"}


def test_rule_19_added_names_are_answered_even_if_sent_unasked_before() -> None:
    client = sotw(cluster("a"), endpoints("a"), endpoints("b"))
    client.ask(C)
    client.ask(E, "a")
    client.ack(C)
    client.ack(E)
    [_, unasked] = client.update(cluster("b"))
    assert unasked.names == {"b"}
    client.ack(E, unasked)
    [response] = client.ask(E, "a", "b")
    assert response.names == {"b"}


def test_rule_19_clusters_are_answered_with_the_full_set() -> None:
    client = sotw(cluster("a"), cluster("b"), only=C)
    client.ask(C, "a")
    client.ack(C)
    [response] = client.ask(C, "a", "b")
    assert response.names == {"a", "b"}


@pytest.mark.parametrize(("type_url", "make"), [(E, endpoints), (C, cluster), (L, listener)])
def test_rule_20_fewer_names_are_not_answered(type_url: str, make: object) -> None:
    client = sotw(make("a"), make("b"))  # type: ignore[operator]
    client.ask(type_url, "a", "b")
    client.ack(type_url)
    assert client.ask(type_url, "a") == []
    assert client.update(make("b", body="2")) == []  # type: ignore[operator]


def test_rule_21_a_name_given_up_and_asked_for_again_is_sent_again() -> None:
    client = sotw(endpoints("a"), endpoints("b"))
    client.ask(E, "a", "b")
    client.ack(E)
    assert client.ask(E, "b") == []
    [response] = client.ask(E, "a", "b")
    assert response.names == {"a"}


@pytest.mark.parametrize("type_url", [C, L])
def test_rule_22_a_returning_wildcard_client_that_has_everything_hears_nothing(type_url: str) -> None:
    view = View([cluster("a"), listener("l")])
    first = Client(view, Form.SOTW)
    [response] = first.ask(type_url)
    again = Client(View([listener("l"), cluster("a")]), Form.SOTW)  # another replica, built in another order
    assert again.ask(type_url, version=response.version) == []
    [later] = again.update(cluster("b"), listener("m"))
    assert len(later.names) == 2


def test_rule_22_named_subscriptions_are_always_answered() -> None:
    first = sotw(endpoints("a"))
    [response] = first.ask(E, "a")
    again = Client(first.view, Form.SOTW)
    [answer] = again.ask(E, "a", version=response.version)
    assert answer.version == response.version


def test_rule_23_names_that_do_not_exist_are_remembered() -> None:
    client = sotw(endpoints("a"))
    [response] = client.ask(E, "a", "ghost")
    assert response.names == {"a"}
    client.ack(E)
    [born] = client.update(endpoints("ghost"))
    assert born.names == {"ghost"}


def test_rule_24_nothing_is_said_of_endpoints_that_do_not_exist() -> None:
    assert sotw().ask(E, "ghost") == []


@pytest.mark.parametrize("type_url", [C, L])
@pytest.mark.parametrize("names", [(), ("*",), ("ghost",)])
def test_rule_24_an_empty_set_of_clusters_or_listeners_is_said(type_url: str, names: tuple[str, ...]) -> None:
    [response] = sotw().ask(type_url, *names)
    assert response.names == set()
    assert response.version


def test_rule_25_every_cluster_response_is_the_complete_set() -> None:
    client = sotw(cluster("a"), cluster("b"), only=C)
    client.ask(C)
    client.ack(C)
    [response] = client.update(cluster("a", "2"))
    assert response.bodies == {"a": "a:2", "b": "b:1"}
    client.ack(C)
    named = Client(client.view, Form.SOTW, only=C)
    [response] = named.ask(C, "a", "ghost")
    assert response.names == {"a"}


def test_rule_25_other_types_send_what_changed() -> None:
    client = sotw(endpoints("a"), endpoints("b"))
    client.ask(E, "a", "b")
    client.ack(E)
    [response] = client.update(endpoints("b", "2"))
    assert response.names == {"b"}


@pytest.mark.parametrize(("type_url", "make"), [(C, cluster), (L, listener)])
def test_rule_55_a_full_set_is_never_split(type_url: str, make: Any) -> None:
    client = sotw(*(make(f"{n:05}", "x" * 2000) for n in range(5000)), only=type_url)
    [response] = client.ask(type_url)
    assert len(response.names) == 5000


def test_rule_26_removal_is_a_response_without_it_and_the_last_one_an_empty_response() -> None:
    client = sotw(cluster("a"), cluster("b"), only=C)
    client.ask(C)
    client.ack(C)
    [response] = client.update(gone=[(C, "a")])
    assert response.names == {"b"}
    client.ack(C)
    [response] = client.update(gone=[(C, "b")])
    assert response.names == set()


@pytest.mark.parametrize(("type_url", "make"), [(E, endpoints), (R, route), (S, secret)])
def test_rule_27_removal_of_other_types_has_no_form(type_url: str, make: object) -> None:
    client = sotw(make("a"), make("b"))  # type: ignore[operator]
    client.ask(type_url, "a", "b")
    client.ack(type_url)
    assert client.update(gone=[(type_url, "a")]) == []
    [again] = client.update(make("a", body="2"))  # type: ignore[operator]
    assert again.names == {"a"}


def test_rule_28_nothing_is_sent_that_did_not_change() -> None:
    client = sotw(cluster("a"), endpoints("a"), endpoints("b"))
    client.ask(C)
    client.ask(E, "a")
    client.ack(C)
    client.ack(E)
    assert client.update(cluster("a"), endpoints("a")) == []  # equal content
    assert client.update(endpoints("b", "2")) == []  # nobody asked for b
    assert client.update(endpoints("a", "2"))[0].kind == "EDS"


def test_rule_28_a_change_taken_back_before_it_was_sent_is_no_change() -> None:
    client = sotw(endpoints("a"))
    client.ask(E, "a")  # a response is under way, so nothing is sent
    assert client.update(endpoints("a", "2")) == []
    assert client.update(endpoints("a")) == []
    assert client.ack(E) == []


def test_rule_29_what_is_no_longer_asked_for_is_not_sent() -> None:
    client = sotw(endpoints("a"), endpoints("b"))
    client.ask(E, "a", "b")
    client.update(endpoints("a", "2"), endpoints("b", "2"))
    [response] = client.ask(E, "b")  # which ACKs, too
    assert response.names == {"b"}


def test_rule_77_versions_are_per_type_and_of_content() -> None:
    client = sotw(cluster("a"), endpoints("a"), listener("l", "r"), route("r", "a"))
    [cds] = client.ask(C)
    client.ack(C)
    [lds] = client.ask(L)
    client.ack(L)
    [changed] = client.update(cluster("a", "2"))
    client.ack(C)
    [back] = client.update(cluster("a", "1"))
    assert cds.version != changed.version
    assert back.version == cds.version
    assert client.view.version(L) == lds.version


def test_rule_77_a_named_subscription_has_the_version_of_its_subset() -> None:
    one = sotw(endpoints("a"), endpoints("b"), endpoints("c"))
    [first] = one.ask(E, "a", "b")
    one.ack(E)
    assert one.update(endpoints("c", "2")) == []
    other = sotw(endpoints("b"), endpoints("a", "2"))
    other.ask(E, "a")
    other.ack(E)
    other.ask(E, "a", "b")
    other.ack(E)
    [last] = other.update(endpoints("a"))
    assert last.version == first.version


def test_rule_78_an_unknown_version_means_nothing_is_known() -> None:
    client = sotw(cluster("a"))
    [response] = client.ask(C, version="another server's")
    assert response.names == {"a"}
