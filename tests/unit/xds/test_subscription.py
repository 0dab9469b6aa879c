"""Rules 30 to 38: wildcards, on the subscription itself and through sessions."""

from __future__ import annotations

import pytest

from dragoman.xds.snapshot import View
from dragoman.xds.subscription import Interest, Subscription
from dragoman.xds.wire import Form
from tests.unit.xds.client import C, Client, E, L, R, S, cluster, endpoints


def state(subscription: Subscription) -> tuple[bool, set[str]]:
    return subscription.wildcard, set(subscription.names)


def test_rule_30_no_names_from_the_start_mean_everything() -> None:
    wants = Subscription(legacy=True)
    for _ in range(3):
        wants.replace([])
        assert state(wants) == (True, set())


def test_rule_31_star_means_everything_and_names_may_stand_beside_it() -> None:
    wants = Subscription(legacy=True)
    wants.replace(["*"])
    assert state(wants) == (True, set())
    wants.replace(["*", "A"])
    assert state(wants) == (True, {"A"})


def test_rule_32_sotw_sequence() -> None:
    wants = Subscription(legacy=True)
    seen = []
    for names in ([], ["*", "A"], ["A"], []):
        wants.replace(names)
        seen.append(state(wants))
    assert seen == [(True, set()), (True, {"A"}), (False, {"A"}), (False, set())]


def test_rule_33_delta_sequence() -> None:
    wants = Subscription(legacy=True)
    seen = []
    for first, add, drop in ((True, [], []), (False, ["A"], []), (False, [], ["*"]), (False, [], ["A"])):
        wants.update(add, drop, first=first)
        seen.append(state(wants))
    assert seen == [(True, set()), (True, {"A"}), (False, {"A"}), (False, set())]


@pytest.mark.parametrize("names", [["A"], ["*"]])
def test_rule_34_once_explicit_always_explicit(names: list[str]) -> None:
    wants = Subscription(legacy=True)
    wants.replace(names)
    wants.replace([])
    assert state(wants) == (False, set())
    wants.replace([])
    assert state(wants) == (False, set())


@pytest.mark.parametrize("type_url", [E, R, S])
@pytest.mark.parametrize("form", list(Form))
def test_rule_35_no_names_mean_nothing_for_types_asked_for_by_name(type_url: str, form: Form) -> None:
    client = Client(View([endpoints("a")]), form)
    assert client.ask(type_url) == []
    assert not client.session.streams[type_url].subscription.wildcard


@pytest.mark.parametrize("form", list(Form))
def test_rule_35_star_works_for_every_type(form: Form) -> None:
    client = Client(View([endpoints("a"), endpoints("b")]), form)
    [response] = client.ask(E, "*")
    assert response.names == {"a", "b"}


@pytest.mark.parametrize("form", list(Form))
def test_rule_36_the_empty_name_is_a_name(form: Form) -> None:
    client = Client(View([cluster("a")]), form, only=C)
    client.ask(C, "")
    assert not client.session.streams[C].subscription.wildcard
    assert client.has[C] == {}


def test_rule_37_a_wildcard_client_cannot_give_up_members() -> None:
    wants = Subscription(legacy=True)
    wants.update([], [], first=True)
    assert wants.update([], ["a"], first=False) == Interest()
    assert "a" in wants


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize("type_url", [C, L])
def test_rule_38_the_first_wildcard_request_is_answered_even_with_nothing(form: Form, type_url: str) -> None:
    client = Client(View(), form)
    [response] = client.ask(type_url)
    assert response.names == set()
    assert client.ack(type_url) == []


def test_rule_49_phantom_unsubscription_is_nothing() -> None:
    wants = Subscription(legacy=False)
    wants.update(["a"], [], first=True)
    assert wants.update([], ["b", "", "*"], first=False) == Interest()


def test_rule_32_sotw_sequence_on_the_wire() -> None:
    client = Client(View([cluster("A"), cluster("B")]), Form.SOTW, only=C)
    assert client.ask(C)[0].names == {"A", "B"}
    client.ack(C)
    assert client.ask(C, "*", "A")[0].names == {"A", "B"}
    client.ack(C)
    assert client.ask(C, "A") == []
    [response] = client.update(cluster("A", "2"), cluster("B", "2"))
    assert response.names == {"A"}
    client.ack(C)
    assert client.ask(C) == []
    assert client.update(cluster("A", "3")) == []
