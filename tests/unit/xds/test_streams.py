"""Rules 1 to 13: streams, types, nonces."""

from __future__ import annotations

import pytest

from dragoman import resource
from dragoman.resource import TYPES
from dragoman.xds.session import ProtocolError
from dragoman.xds.snapshot import View
from dragoman.xds.wire import Form
from tests.unit.xds.client import C, Client, E, L, P, R, S, cluster, endpoints, listener, route, scope, secret

FORMS = pytest.mark.parametrize("form", list(Form))


def full() -> View:
    return View(
        [
            cluster("a"),
            cluster("b"),
            endpoints("a"),
            endpoints("b"),
            listener("l", "r"),
            route("r", "a"),
            scope("p", "a"),
            secret("s"),
            resource.make(resource.EXTENSION, "x", b""),
            resource.make(resource.CHAIN, "h", b""),
        ]
    )


@FORMS
@pytest.mark.parametrize("only", TYPES)
def test_rule_1_single_type_services_and_ads_answer_alike(form: Form, only: str) -> None:
    names = [] if only in (C, L, P) else sorted(full().resources(only))
    single, ads = Client(full(), form, only=only), Client(full(), form)
    [one], [two] = single.ask(only, *names), ads.ask(only, *names)
    assert one == two
    assert one.names


@FORMS
def test_rule_2_ads_needs_a_type_url(form: Form) -> None:
    with pytest.raises(ProtocolError) as failure:
        Client(full(), form).send("")
    assert failure.value.code == "INVALID_ARGUMENT"


@FORMS
def test_rule_2_single_type_service_takes_an_empty_type_url_and_no_other_type(form: Form) -> None:
    client = Client(full(), form, only=C)
    client.send("")
    [response] = client.take()
    assert response.type_url == C
    with pytest.raises(ProtocolError) as failure:
        client.send(L)
    assert failure.value.code == "INVALID_ARGUMENT"


@FORMS
def test_rule_5_types_are_sub_streams_of_their_own(form: Form) -> None:
    client = Client(full(), form)
    client.ask(C)
    client.ask(R, "r")
    client.nack(C, "Error adding/updating cluster(s) a: bad")
    # RDS waited for the CDS answer only because its cluster was new.
    assert client.wait(20) == [] or client.last[R].names == {"r"}
    client.ack(R)
    [response] = client.update(route("r", "a", body="2"))
    assert response.kind == "RDS"


@FORMS
def test_rule_6_unserved_types_are_held_in_silence(form: Form) -> None:
    client = Client(full(), form)
    assert client.ask("type.googleapis.com/envoy.service.runtime.v3.Runtime", "rtds") == []
    assert [m.kind for m in client.ask(C)] == ["CDS"]


@FORMS
def test_rule_8_two_streams_of_one_node_do_not_touch_each_other(form: Form) -> None:
    view = full()
    old, new = Client(view, form), Client(view, form)
    old.ask(C)
    new.ask(C)
    old._leave()
    old.ack(C)
    new.ack(C)
    assert [m.kind for m in new.update(cluster("c"))] == ["CDS"]


@FORMS
def test_rule_10_and_11_types_match_and_no_name_comes_twice(form: Form) -> None:
    client = Client(full(), form)  # `decode` checks every message
    client.ask(C)
    client.ask(E, "a", "a", "b")
    client.ack(C)
    client.ask(S, "s", "s")
    assert client.last[E].names == {"a", "b"}


@FORMS
def test_rule_12_nonces_are_not_empty_and_unique_within_the_stream(form: Form) -> None:
    client = Client(full(), form)
    nonces = [m.nonce for m in client.ask(C)]
    nonces += [m.nonce for m in client.ask(E, "a")]
    client.ack(E)
    client.ack(C)
    for number in range(5):
        nonces += [m.nonce for m in client.update(endpoints("a", str(number + 2)))]
        client.ack(E)
    assert len(nonces) == 7
    assert all(nonces)
    assert len(set(nonces)) == 7


def test_rule_13_later_requests_supersede_earlier_ones() -> None:
    client = Client(full(), Form.SOTW)
    client.send(E, names=["a"])
    client.send(E, names=["b"])
    [response] = client.take()
    assert response.names == {"b"}


@FORMS
def test_rule_84_there_are_no_heartbeats(form: Form) -> None:
    client = Client(full(), form)
    for type_url in TYPES:
        client.ask(type_url, *([] if type_url in (C, L) else full().resources(type_url)))
        for seen in list(client.last):
            client.ack(seen)
    assert client.session.deadline is None
    assert client.wait(1_000_000) == []


@FORMS
@pytest.mark.parametrize(
    "name", ["xdstp://shop.example/envoy.config.cluster.v3.Cluster/shop/*", "shop/*", "**"]
)
def test_rule_88_no_name_but_the_star_is_a_pattern(form: Form, name: str) -> None:
    client = Client(View([cluster("shop/a"), cluster(name)]), form, only=C)
    [response] = client.ask(C, name)
    assert list(response.bodies.values()) == [f"{name}:1"]


@FORMS
def test_seconds_from_change_to_ack_are_told(form: Form) -> None:
    client = Client(full(), form)
    client.ask(E, "a")
    client.ack(E)
    assert client.recorded.seconds == []
    client.update(endpoints("a", "2"))
    client.now += 0.25
    client.ack(E)
    assert client.recorded.seconds == [0.25]
