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


def test_rule_64_who_does_not_say_which_chains_it_has_waits_as_long_as_it_takes() -> None:
    """Of all listeners that one alone."""
    before = connected("a", "b")
    view = View([listener("a"), chain("a"), resource.make(L, "plain", b"plain:2")])
    client = Client(view, Form.DELTA)
    [sent] = client.ask(L, has={**before.has[L], "plain": "old"})
    assert sent.names == {"plain"}
    client.ack(L)
    assert client.wait(PATIENCE - 1) == []
    assert client.recorded.silences == []
    assert client.wait(100 * PATIENCE) == []
    view.apply(changes(listener("a", "c"), chain("c")))
    assert client.wait(PATIENCE) == []
    assert client.recorded.silences == [("l",)], "said once"
    assert client.session.silent == ("l",)
    [gone] = client.ask(CHAIN, "a", "b", has=before.has[CHAIN])
    assert gone.removed == ["b"]
    assert client.session.silent == ()
    [then] = client.ack(CHAIN)
    assert then.names == {"l"}


def test_a_silent_client_gets_a_listener_with_everything_in_it_at_once() -> None:
    """Envoy makes another listener of it, and drains the former with its chains."""
    before = connected("a", "b")
    client = Client(View([resource.make(L, "l", b"l:whole")]), Form.DELTA)
    [sent] = client.ask(L, has=before.has[L])
    assert sent.bodies == {"l": "l:whole"}


def test_chains_stay_with_a_listener_that_has_all_in_it_by_now() -> None:
    """Until the client lets go of them. One that fetches chains again waits for their removal."""
    client = connected("l/a", "l/b", "k/a")
    client.view.apply(
        changes(resource.make(L, "l", b"l:whole"), gone=[(CHAIN, "l/a"), (CHAIN, "l/b"), (CHAIN, "k/a")])
    )
    sent = client.take()
    assert [(one.kind, one.removed) for one in sent] == [("FCDS", ["k/a"]), ("LDS", [])]
    client.ack(CHAIN)
    client.ack(L)
    assert client.wait(10 * PATIENCE) == []
    client.ask(CHAIN, drop=["l/b"])
    client.view.apply(changes(listener("l/b"), chain("l/b")))
    [gone] = client.take()
    assert gone.removed == ["l/a"]
    [then] = client.ack(CHAIN)
    assert then.names == {"l"}


def test_other_listeners_do_not_wait_for_chains_that_stay() -> None:
    other = resource.make(L, "k", b"k:1", {CHAIN: ["k/a"]})
    client = connected("l/a", more=(other, chain("k/a")))
    client.ask(CHAIN, "k/a")
    client.ack(CHAIN)
    client.view.apply(changes(resource.make(L, "l", b"l:whole"), gone=[(CHAIN, "l/a")]))
    [sent] = client.take()
    assert sent.names == {"l"}
    client.ack(L)
    client.view.apply(changes(resource.make(L, "k", b"k:2", {CHAIN: ["k/a", "k/b"]}), chain("k/b")))
    [sent] = client.take()
    assert sent.names == {"k"}


def test_a_listener_that_names_no_chain_any_more_waits_as_others_do() -> None:
    """Every host lacks a certificate, say."""
    client = connected("a")
    client.view.apply(changes(chain("a", "2")))
    client.take()  # and no answer yet
    client.view.apply(changes(listener(), gone=[(CHAIN, "a")]))
    assert client.take() == []
    [gone] = client.ack(CHAIN)
    assert gone.removed == ["a"]
    [then] = client.ack(CHAIN)
    assert then.names == {"l"}


def test_a_listener_that_named_no_chain_is_not_waited_for() -> None:
    """Who has it never asks for chains."""
    view = View([listener("a"), chain("a")])
    client = Client(view, Form.DELTA)
    has = {"l": listener().version}
    assert client.ask(L, has=has) == []
    [sent] = client.wait(PATIENCE + 1)
    assert sent.names == {"l"}
    assert client.recorded.silences == []


def test_chains_of_a_refused_response_count_as_there() -> None:
    """Envoy takes those before the bad one, and they may have connections."""
    client = connected("a")
    client.view.apply(changes(listener("a", "b", "c"), chain("b"), chain("c")))
    client.take()
    client.ack(L)
    client.ask(CHAIN, "b", "c")
    [first] = client.nack(CHAIN, "something with c")
    assert first.names == {"b"}
    client.view.apply(changes(listener("a"), gone=[(CHAIN, "b"), (CHAIN, "c")]))
    assert client.take() == []
    [gone] = client.ack(CHAIN)
    assert gone.removed == ["b", "c"]
    [then] = client.ack(CHAIN)
    assert then.names == {"l"}


def test_a_chain_that_comes_back_without_a_version_counts_as_there() -> None:
    """The client asks for it: some refused response had it."""
    view = View([listener("a"), chain("a", "2")])
    client = Client(view, Form.DELTA)
    before = connected("a", "b")
    client.ask(L, has=before.has[L])
    [sent] = client.ask(CHAIN, "a", "b", has={"a": before.has[CHAIN]["a"]})
    assert (sent.kind, sent.names, sent.removed) == ("FCDS", set(), ["b"])
    sent = client.ack(CHAIN)
    assert [one.kind for one in sent] == ["FCDS", "LDS"]


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
