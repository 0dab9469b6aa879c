"""Route tables that refer to listeners (the inner ones of cached routes): there before, gone after; both
forms."""

from __future__ import annotations

import pytest

from dragoman import resource
from dragoman.resource import CLUSTER, LISTENER, ROUTE, Resource
from dragoman.xds.wire import Form
from tests.unit.xds.client import PATIENCE, C, Client, L, R, cluster, listener
from tests.unit.xds.test_order import connected, kinds

FORMS = pytest.mark.parametrize("form", list(Form))


def table(*inner: str, body: str = "1") -> Resource:
    refs = {CLUSTER: ["x", *inner], LISTENER: inner}
    return resource.make(ROUTE, "r", f"r:{body} {inner}".encode(), refs)


def plain(form: Form) -> Client:
    return connected(form, cluster("x", eds=False), listener("l", "r"), table())


def cached(form: Form) -> Client:
    clusters = cluster("x", eds=False), cluster("in", eds=False)
    return connected(form, *clusters, listener("l", "r"), listener("in"), table("in"))


@FORMS
def test_a_table_waits_for_its_inner_listener_and_cluster(form: Form) -> None:
    client = plain(form)
    sent = client.update(cluster("in", eds=False), listener("in"), table("in"))
    assert kinds(sent) == ["CDS", "LDS"]
    assert client.ack(C) == []
    assert kinds(client.ack(L)) == ["RDS"]


@FORMS
def test_other_listeners_are_not_waited_for(form: Form) -> None:
    client = cached(form)
    assert kinds(client.update(listener("other"), table("in", body="2"))) == ["LDS", "RDS"]


@FORMS
def test_a_refused_inner_listener_is_not_waited_for(form: Form) -> None:
    client = plain(form)
    client.update(cluster("in", eds=False), listener("in"), table("in"))
    client.ack(C)
    assert kinds(client.nack(L, "error adding listener named 'in': no such thing")) == ["RDS"]


@FORMS
def test_waiting_for_an_inner_listener_ends(form: Form) -> None:
    client = plain(form)
    client.update(cluster("in", eds=False), listener("in"), table("in"))
    client.ack(C)
    assert kinds(client.wait(PATIENCE + 1)) == ["RDS"]


@FORMS
def test_an_inner_listener_goes_after_the_table_that_used_it(form: Form) -> None:
    client = cached(form)
    sent = client.update(table(), gone=[(L, "in"), (C, "in")])
    assert kinds(sent) == ["RDS"]
    assert sorted(kinds(client.ack(R))) == ["CDS", "LDS"]
    assert set(client.has[L]) == {"l"}
    assert set(client.has[C]) == {"x"}


@FORMS
def test_all_of_it_goes_without_waiting_for_each_other(form: Form) -> None:
    client = cached(form)
    sent = client.update(gone=[(L, "l"), (L, "in"), (R, "r"), (C, "in"), (C, "x")])
    for _ in range(6):
        more = [message for kind in {message.type_url for message in sent} for message in client.ack(kind)]
        if not more:
            break
        sent = more
    assert client.has[L] == client.has[C] == {}
