"""Rules 59 to 70: order, warming, make before break; both forms."""

from __future__ import annotations

import pytest

from dragoman import resource
from dragoman.resource import Resource
from dragoman.xds.snapshot import Snapshot, View
from dragoman.xds.wire import Form
from tests.unit.xds.client import (
    C,
    Client,
    E,
    L,
    Message,
    R,
    S,
    X,
    cluster,
    endpoints,
    extension,
    listener,
    route,
    secret,
)

FORMS = pytest.mark.parametrize("form", list(Form))


def connected(form: Form, *resources: Resource, ask: tuple[str, ...] = (C, E, L, R, S)) -> Client:
    """A client that has asked for everything and ACKed everything."""
    view = View(resources)
    client = Client(view, form)
    for type_url in ask:
        names = () if type_url in (C, L) else tuple(view.resources(type_url))
        client.ask(type_url, *names)
        while sub_in_flight(client, type_url):
            client.ack(type_url)
    return client


def sub_in_flight(client: Client, type_url: str) -> bool:
    sub = client.session.streams.get(type_url)
    return sub is not None and sub.flight is not None


def kinds(messages: list[Message]) -> list[str]:
    return [message.kind for message in messages]


def simple(form: Form) -> Client:
    return connected(form, cluster("x"), endpoints("x"), listener("l", "r"), route("r", "x"))


@FORMS
def test_rule_59_emission_order(form: Form) -> None:
    client = connected(
        form, cluster("x", eds=False), endpoints("x"), listener("l", "r"), route("r", "x"), secret("s")
    )
    sent = client.update(
        secret("s", "2"),
        route("r", "x", body="2"),
        listener("l", "r", body="2"),
        endpoints("x", "2"),
        cluster("x", "2", eds=False),
    )
    assert kinds(sent) == ["CDS", "EDS", "LDS", "RDS", "SDS"]


@FORMS
def test_rule_58_filter_configurations_go_before_the_routes_that_name_parts_of_them(form: Form) -> None:
    table, again = (resource.make(R, "r", body, {X: ["f"]}) for body in (b"1", b"2"))
    client = connected(form, listener("l", "r"), table, extension("f"), ask=(C, L, R, X))
    assert kinds(client.update(again, extension("f", "2"))) == ["ECDS", "RDS"]


@FORMS
def test_rule_60_endpoints_follow_clusters_at_once_changed_or_not(form: Form) -> None:
    client = simple(form)
    sent = client.update(cluster("x", "2"), cluster("y"), endpoints("y"))
    assert kinds(sent) == ["CDS", "EDS"]
    assert sent[1].names == {"x", "y"}  # y was never asked for


@FORMS
def test_rule_60_endpoints_asked_for_after_the_cluster_was_sent(form: Form) -> None:
    view = View([cluster("x", "2"), endpoints("x")])
    client = Client(view, form)
    if form is Form.DELTA:  # it reconnects with an older cluster: CDS is answered before EDS is asked for
        client.ask(C, has={"x": "old"})
        sent = client.ask(E, "x", has={"x": endpoints("x").version})
    else:
        client.ask(C, version="old")
        sent = client.ask(E, "x", version="old")
    assert [m.names for m in sent] == [{"x"}]


@FORMS
def test_rule_61_routes_wait_for_new_clusters_until_they_are_acked(form: Form) -> None:
    client = simple(form)
    sent = client.update(cluster("y"), endpoints("y"), route("r", "y"))
    assert kinds(sent) == ["CDS", "EDS"]
    assert client.ack(E) == []
    sent = client.ack(C)
    assert kinds(sent) == ["RDS"]


@FORMS
def test_rule_61_listeners_that_go_to_clusters_directly_wait_as_well(form: Form) -> None:
    client = simple(form)
    sent = client.update(cluster("y"), endpoints("y"), listener("tcp", clusters=["y"]))
    assert kinds(sent) == ["CDS", "EDS"]
    [lds] = client.ack(C)
    assert set(client.has[L]) == {"l", "tcp"}
    assert lds.kind == "LDS"


@FORMS
def test_rule_61_what_is_not_concerned_does_not_wait(form: Form) -> None:
    client = connected(
        form,
        cluster("x"),
        endpoints("x"),
        listener("l", "r"),
        route("r", "x"),
        route("other", "x"),
    )
    sent = client.update(
        cluster("y"), endpoints("y"), route("r", "y"), route("other", "x", body="2"), listener("m", "other")
    )
    assert kinds(sent) == ["CDS", "EDS", "LDS", "RDS"]
    assert sent[3].names == {"other"}
    client.ack(R)
    [rds] = client.ack(C)
    assert rds.names == {"r"}


def test_rule_61_a_held_listener_stays_in_full_responses_as_it_was() -> None:
    client = connected(Form.SOTW, cluster("x"), listener("tcp", clusters=["x"]), listener("web"))
    sent = client.update(
        cluster("y"),
        listener("tcp", clusters=["y"]),
        listener("new", clusters=["y"]),
        listener("web", body="2"),
    )
    assert kinds(sent) == ["CDS", "LDS"]
    assert sent[1].bodies.keys() == {"tcp", "web"}
    assert "'x'" in sent[1].bodies["tcp"]
    client.ack(L)
    [lds] = client.ack(C)
    assert lds.bodies.keys() == {"tcp", "web", "new"}
    assert "'y'" in lds.bodies["tcp"]
    assert lds.version == client.view.version(L)


@FORMS
def test_rule_61_waiting_has_an_end(form: Form) -> None:
    client = simple(form)
    client.update(cluster("y"), endpoints("y"), route("r", "y"))
    client.ack(E)
    assert client.session.deadline == client.now + 20
    assert client.wait(19.9) == []
    assert kinds(client.wait(0.1)) == ["RDS"]


@FORMS
def test_rule_61_a_cluster_that_was_not_sent_holds_routes_however_long_it_takes(form: Form) -> None:
    client = simple(form)
    client.update(cluster("z"), endpoints("z"))  # a CDS response is under way
    assert client.wait(10) == []
    client.ack(E)
    assert client.update(cluster("y"), endpoints("y"), route("r", "y")) == []
    sent = client.wait(10)  # the CDS response counts as lost, the next one goes out
    assert kinds(sent) == ["CDS", "EDS"]
    assert kinds(client.wait(19)) == []
    assert kinds(client.wait(1)) == ["RDS"] or kinds(client.wait(1)) == ["RDS"]


@FORMS
def test_rule_62_endpoints_and_secrets_are_never_held(form: Form) -> None:
    client = connected(form, cluster("x"), endpoints("x"), secret("s"), listener("l", "r"), route("r", "x"))
    assert kinds(client.update(cluster("x", "2"))) == ["CDS", "EDS"]
    client.ack(E)
    assert kinds(client.update(endpoints("x", "2"), secret("s", "2"))) == ["EDS", "SDS"]


def test_rule_62_an_absent_endpoint_set_is_told_even_while_its_cluster_warms() -> None:
    client = connected(Form.DELTA, cluster("x"), endpoints("x"))
    client.update(cluster("y"))
    [eds] = client.ask(E, "y")
    assert eds.removed == ["y"]


@FORMS
def test_rule_63_routes_of_a_new_listener_come_after_it(form: Form) -> None:
    client = simple(form)
    sent = client.update(listener("m", "new"), route("new", "x"))
    assert kinds(sent) == ["LDS"]
    names = ("r", "new") if form is Form.SOTW else ("new",)
    [rds] = client.ask(R, *names)
    assert rds.names == {"new"}


@FORMS
def test_rule_63_routes_move_before_the_old_cluster_goes(form: Form) -> None:
    client = simple(form)
    client.view.apply({C: {"y": cluster("y", eds=False), "x": None}, R: {"r": route("r", "y")}})
    [cds] = client.take()
    assert "x" in client.has[C]
    [rds] = client.ack(C)
    assert rds.kind == "RDS"
    assert "x" in client.has[C]
    [cds] = client.ack(R)
    assert cds.kind == "CDS"
    assert set(client.has[C]) == {"y"}


@FORMS
def test_rule_64_and_65_one_change_of_backend_is_union_then_final(form: Form) -> None:
    client = simple(form)
    before = client.view.version(C)
    client.view.apply(
        {C: {"y": cluster("y"), "x": None}, E: {"y": endpoints("y"), "x": None}, R: {"r": route("r", "y")}}
    )
    sent = client.take()
    assert kinds(sent) == ["CDS", "EDS"]
    assert set(client.has[C]) == {"x", "y"}
    union = sent[0].version
    client.ack(E)
    [rds] = client.ack(C)
    assert rds.kind == "RDS"
    sent = client.ack(R)
    assert sent[0].kind == "CDS"
    assert set(client.has[C]) == {"y"}
    client.ack(C)
    if form is Form.SOTW:
        assert len({before, union, sent[0].version}) == 3
        assert sent[0].version == client.view.version(C)
    else:
        assert sent[0].removed == ["x"]
        assert sent[0].names == set()


@FORMS
def test_rule_64_removal_does_not_wait_for_types_that_nobody_asks_for(form: Form) -> None:
    client = connected(form, cluster("x"), cluster("y"), ask=(C,))
    client.update(gone=[(C, "x")])
    assert set(client.has[C]) == {"y"}


@FORMS
def test_rule_64_removal_of_what_nothing_uses_does_not_wait(form: Form) -> None:
    client = connected(form, cluster("x"), cluster("unused"), listener("l", "r"), route("r", "x"))
    client.update(route("r", "x", body="2"))
    client.update(gone=[(C, "unused")])
    assert set(client.has[C]) == {"x"}


@FORMS
def test_rule_64_waiting_for_the_ack_of_routes_has_an_end(form: Form) -> None:
    client = simple(form)
    client.view.apply({C: {"y": cluster("y", eds=False), "x": None}, R: {"r": route("r", "y")}})
    client.take()
    client.ack(C)
    assert client.wait(19) == []
    sent = client.wait(1)
    assert kinds(sent) == ["CDS"]
    assert set(client.has[C]) == {"y"}


@FORMS
def test_rule_64_routes_go_after_the_listeners_that_use_them(form: Form) -> None:
    client = simple(form)
    sent = client.update(gone=[(L, "l"), (R, "r"), (C, "x"), (E, "x")])
    assert kinds(sent) == ["LDS"]
    assert client.has[L] == {}
    sent = client.ack(L)
    if form is Form.DELTA:
        assert kinds(sent) == ["RDS"]
        assert sent[0].removed == ["r"]
        sent = client.ack(R)
    assert sent[0].kind == "CDS"
    assert client.has[C] == {}


def test_rule_64_after_a_restart_removal_waits_for_what_the_client_still_has() -> None:
    """The configuration changed while the control plane was away: x was replaced by y."""
    old = {r.type_url: {r.name: r.version} for r in (cluster("x"), endpoints("x"), listener("l", "r"))}
    view = View([cluster("y"), endpoints("y"), listener("l", "r"), route("r", "y")])
    client = Client(view, Form.DELTA)
    client.has = {t: dict(named) for t, named in old.items()}
    [cds] = client.ask(C, has=old[C])
    assert cds.names == {"y"}
    assert cds.removed == []
    [eds] = client.ask(E, "y", "x", has=old[E])
    assert eds.names == {"y"}
    client.ack(E)
    assert client.ask(L, has=old[L]) == []
    assert client.ask(R, "r", has={"r": "old"}) == []
    [rds] = client.ack(C)
    assert rds.names == {"r"}
    sent = client.ack(R)
    assert sent[0].removed == ["x"]


@FORMS
def test_rule_66_a_nack_of_routes_keeps_the_clusters_they_go_on_using(form: Form) -> None:
    client = simple(form)
    client.view.apply({C: {"y": cluster("y", eds=False), "x": None}, R: {"r": route("r", "y")}})
    client.take()
    client.ack(C)
    assert client.nack(R, "r: bad") == []
    assert client.wait(100) == []
    assert "x" in client.has[C]
    assert kinds(client.update(route("r", "y", body="2"))) == ["RDS"]
    client.ack(R)
    assert set(client.has[C]) == {"y"}


@FORMS
def test_rule_66_a_cluster_that_was_refused_holds_what_uses_it_for_a_while(form: Form) -> None:
    client = simple(form)
    client.update(
        cluster("bad", eds=False), cluster("good", eds=False), route("r", "bad"), route("s", "good")
    )
    sent = client.nack(C, "Error adding/updating cluster(s) bad: no")
    assert sent == []
    assert kinds(client.update(route("r", "good"))) == ["RDS"]  # partial: `good` is in use


@FORMS
def test_rule_67_endpoint_changes_skip_the_ladder(form: Form) -> None:
    client = simple(form)
    client.update(cluster("y"), route("r", "y"))  # a ladder under way
    client.ack(E) if sub_in_flight(client, E) else None
    assert kinds(client.update(endpoints("x", "9"))) == ["EDS"]


def test_rule_68_inconsistencies_are_found() -> None:
    snapshot = Snapshot(
        [cluster("x"), route("r", "x", "nowhere"), listener("l", "r", "q"), endpoints("spare")]
    )
    assert [str(i) for i in snapshot.inconsistencies()] == [
        "CDS x refers to EDS x, which does not exist",
        "LDS l refers to RDS q, which does not exist",
        "RDS r refers to CDS nowhere, which does not exist",
    ]
    assert Snapshot([cluster("x"), endpoints("x")]).inconsistencies() == ()


def managed(name: str, manager: str, body: str = "1") -> Resource:
    """A listener whose connection manager stands beside it."""
    return resource.make(L, name, body.encode(), {R: ["r"], X: [manager]})


@FORMS
def test_a_listener_follows_the_connection_manager_that_it_was_made_for(form: Form) -> None:
    first = (managed("l", "m"), route("r", "x"), extension("m"), cluster("x"), endpoints("x"))
    client = connected(form, *first, ask=(C, E, L, R, X))
    sent = client.update(managed("l", "m", "2"), extension("m", "2"))
    assert kinds(sent) == ["ECDS", "LDS"]


@FORMS
def test_a_listener_does_not_wait_for_what_is_asked_for_after_it(form: Form) -> None:
    client = Client(View([managed("l", "m"), route("r"), extension("m"), extension("n")]), form)
    assert kinds(client.ask(L)) == ["LDS"]
    client.ack(L)
    assert kinds(client.ask(X, "m")) == ["ECDS"]
    client.ack(X)
    sent = client.update(managed("l", "n", "2"))
    assert kinds(sent) == ["LDS"]


@FORMS
def test_a_connection_manager_goes_without_a_word(form: Form) -> None:
    """After the listener that names it; and if it comes back, it is sent."""
    first = (managed("l", "m"), route("r", "x"), extension("m"), cluster("x"), endpoints("x"))
    client = connected(form, *first, ask=(C, E, L, R, X))
    sent = client.update(listener("l", "r"), gone=[(X, "m")])
    assert kinds(sent) == ["LDS"]
    assert client.ack(L) == []
    assert kinds(client.update(extension("m"), managed("l", "m", "3"))) == ["ECDS", "LDS"]


@FORMS
def test_rule_69_a_cluster_removed_and_added_again_gets_its_endpoints_again(form: Form) -> None:
    client = connected(form, cluster("x"), endpoints("x"), ask=(C, E))
    client.update(gone=[(C, "x")])
    client.ack(C)
    sent = client.update(cluster("x"))
    assert kinds(sent) == ["CDS", "EDS"]
    assert sent[1].names == {"x"}


@FORMS
def test_rule_70_an_empty_endpoint_set_is_sent(form: Form) -> None:
    client = simple(form)
    sent = client.update(cluster("y"), endpoints("y", ""))
    assert sent[1].bodies == {"y": "y:"}


@FORMS
def test_a_client_that_asks_for_clusters_by_name_does_not_deadlock(form: Form) -> None:
    """gRPC's clients learn a cluster's name from the route, so the route must not wait for it."""
    client = Client(View([cluster("x"), endpoints("x"), listener("l", "r"), route("r", "x")]), form)
    for type_url, name in ((L, "l"), (R, "r"), (C, "x"), (E, "x")):
        [response] = client.ask(type_url, name)
        assert response.names == {name}
        client.ack(type_url)
    sent = client.update(cluster("y"), endpoints("y"), route("r", "y"))
    assert kinds(sent) == ["RDS"]
    client.ack(R)
    names = ("x", "y") if form is Form.SOTW else ("y",)
    assert kinds(client.ask(C, *names))[0] == "CDS"
    assert set(client.has[C]) == {"x", "y"}
