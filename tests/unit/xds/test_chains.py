"""Filter chains that are fetched: a listener lets go of a name only when the client has let go of the chain,
and who cannot fetch chains sees listeners with everything in them."""

from __future__ import annotations

import pytest

from dragoman import resource
from dragoman.resource import CHAIN, LISTENER, WHOLE, Resource
from dragoman.xds.session import PATIENCE
from dragoman.xds.snapshot import View
from dragoman.xds.types import Node
from dragoman.xds.whole import Whole, knows_chains
from dragoman.xds.wire import Form
from tests.unit.xds.client import Client, L, changes, cluster, extension


def chain(name: str, body: str = "1", **refs: list[str]) -> Resource:
    return resource.make(CHAIN, name, f"{name}:{body}".encode(), {resource.EXTENSION: refs.get("uses", [])})


def listener(*names: str) -> Resource:
    return resource.make(L, "l", f"l:{','.join(names)}".encode(), {CHAIN: names})


def whole(body: str) -> Resource:
    return resource.make(WHOLE, "l", f"l:{body}".encode())


def connected(*names: str, more: tuple[Resource, ...] = ()) -> Client:
    view = View([listener(*names), *map(chain, names), *more])
    client = Client(view, Form.DELTA)
    client.ask(L)
    client.ack(L)
    client.ask(CHAIN, *names)
    client.ack(CHAIN)
    return client


def test_rule_64_a_chain_is_taken_away_before_the_listener_stops_to_name_it() -> None:
    client = connected("a", "b")
    client.view.apply(changes(listener("a"), gone=[(CHAIN, "b")]))
    [gone] = client.take()
    assert (gone.kind, gone.removed) == ("FCDS", ["b"])
    assert client.wait(10 * PATIENCE) == [], "however long that takes"
    [then] = client.ack(CHAIN)
    assert (then.kind, then.names) == ("LDS", {"l"})


def test_removals_come_alone_so_that_nothing_with_them_can_be_refused() -> None:
    client = connected("a", "b")
    client.view.apply(changes(listener("a"), chain("a", "2"), gone=[(CHAIN, "b")]))
    [gone] = client.take()
    assert (gone.names, gone.removed) == (set(), ["b"])
    sent = client.ack(CHAIN)
    assert [(one.kind, one.names) for one in sent] == [("FCDS", {"a"}), ("LDS", {"l"})]


def test_a_listener_that_names_a_new_chain_does_not_wait_for_it() -> None:
    client = connected("a")
    client.view.apply(changes(listener("a", "b"), chain("b")))
    [sent] = client.take()
    assert sent.kind == "LDS"
    [then] = client.ask(CHAIN, "b")
    assert then.names == {"b"}


def test_a_changed_chain_costs_no_listener() -> None:
    client = connected("a", "b")
    client.view.apply(changes(chain("a", "2"), listener("a", "b")))
    [sent] = client.take()
    assert (sent.kind, sent.names) == ("FCDS", {"a"})


def test_a_changed_connection_manager_comes_before_its_chain() -> None:
    view = View([chain("a", uses=["m"]), listener("a"), extension("m")])
    client = Client(view, Form.DELTA)
    for type_url, names in ((L, ()), (CHAIN, ("a",)), (resource.EXTENSION, ("m",))):
        client.ask(type_url, *names)
        client.ack(type_url)
    view.apply(changes(chain("a", "2", uses=["m"]), extension("m", "2")))
    assert [one.kind for one in client.take()] == ["ECDS", "FCDS"]


def test_rule_64_who_comes_back_is_first_told_which_chains_are_gone() -> None:
    before = connected("a", "b")
    view = View([listener("a"), chain("a")])
    client = Client(view, Form.DELTA)
    assert client.ask(L, has=before.has[L]) == []
    [gone] = client.ask(CHAIN, "a", "b", has=before.has[CHAIN])
    assert gone.removed == ["b"]
    [then] = client.ack(CHAIN)
    assert then.names == {"l"}


def test_who_comes_back_without_chains_waits_no_longer_than_others() -> None:
    view = View([listener("a"), chain("a")])
    client = Client(view, Form.DELTA)
    assert client.ask(L, has={"l": "old"}) == []
    [sent] = client.wait(PATIENCE + 1)
    assert sent.names == {"l"}


def test_a_new_listener_waits_for_no_chains() -> None:
    view = View([listener("a"), chain("a"), resource.make(L, "plain", b"plain:1")])
    client = Client(view, Form.DELTA)
    has = {"plain": resource.make(L, "plain", b"plain:1").version}
    [sent] = client.ask(L, has=has)
    assert sent.names == {"l"}


@pytest.mark.parametrize("form", list(Form))
def test_who_comes_back_to_listeners_without_chains_waits_for_none(form: Form) -> None:
    client = Client(View([resource.make(L, "plain", b"plain:2"), chain("a")]), form)
    if form is Form.DELTA:
        [sent] = client.ask(L, has={"plain": "old"})
    else:
        [sent] = client.ask(L, version="old")
    assert sent.names == {"plain"}


def test_a_refused_chain_is_told_apart_from_the_others_of_its_response() -> None:
    client = connected("a", "b", "c")
    client.view.apply(changes(*(chain(name, "2") for name in "abc")))
    [sent] = client.take()
    assert sent.names == {"a", "b", "c"}
    seen = [client.nack(CHAIN, "something with b")]
    tried: list[set[str]] = []
    while seen[-1]:
        [part] = seen[-1]
        tried.append(part.names)
        seen.append(client.nack(CHAIN, "something with b") if "b" in part.names else client.ack(CHAIN))
    assert {"b"} in tried
    assert {name for names in tried for name in names} == {"a", "b", "c"}


@pytest.mark.parametrize("form", list(Form))
def test_who_cannot_fetch_chains_sees_whole_listeners(form: Form) -> None:
    view = View([listener("a"), whole("1"), chain("a"), resource.make(L, "plain", b"plain:p"), cluster("x")])
    client = Client(Whole(view), form)  # type: ignore[arg-type]
    [sent] = client.ask(L)
    assert sent.names == {"l", "plain"}
    assert sent.bodies["l"] == "l:1"
    client.ack(L)
    view.apply(changes(chain("a", "2"), whole("2")))  # the other form of it stays
    assert client.take()[0].bodies["l"] == "l:2"
    client.ack(L)
    view.apply(changes(listener("a", "b"), chain("b")))
    assert client.take() == []
    view.apply(changes(gone=[(LISTENER, "l"), (WHOLE, "l"), (CHAIN, "a"), (CHAIN, "b")]))
    client.take()
    assert "l" not in client.has[L]


def test_a_whole_view_has_a_version_of_its_own() -> None:
    plain, more = View([resource.make(L, "plain", b"plain:p")]), View([listener("a"), whole("1")])
    assert Whole(plain).version(L) == plain.version(L)
    assert Whole(more).version(L) != more.version(L)
    same = View([resource.make(L, "l", b"l:1")])
    assert Whole(more).version(L) == same.version(L), "as if it were a listener"
    assert Whole(more).resources(CHAIN) == {}


@pytest.mark.parametrize(
    ("version", "knows"), [("1.40.0", True), ("1.39.2", False), ("2.0.0", True), ("", True)]
)
def test_older_envoys_know_no_chains(version: str, knows: bool) -> None:
    assert knows_chains(Node("n", version=version)) is knows
