"""CSDS without a wire: the state of each resource, what is shown of it, and which proxies are spoken of."""

from __future__ import annotations

from typing import Any

import pytest
import re2

from dragoman import proto
from dragoman.proto.envoy.admin import v3 as admin
from dragoman.xds import csds
from dragoman.xds.csds_messages import messages
from dragoman.xds.ledger import Ledger
from dragoman.xds.snapshot import View
from dragoman.xds.types import Node, Peer
from dragoman.xds.wire import Form
from tests.unit.xds.client import C, Client, E, L, R, S, cluster, endpoints, route, secret

FORMS = pytest.mark.parametrize("form", list(Form))
NAMES = {number: name for name, number in messages().status.items()}
METADATA = {
    "role": "edge",
    "size": 3.0,
    "beta": True,
    "zones": ["a", "b"],
    "deploy": {"track": {"name": "canary"}},
}


class Proxies:
    """A ledger whose clock is the test's, and clients in it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.ledger = Ledger(clock=lambda: self.now)

    def add(
        self,
        view: View,
        form: Form = Form.DELTA,
        *,
        id: str = "edge-1",
        group: str = "shop/edge",
        **more: Any,
    ) -> Client:
        node = Node(id, group, more)
        entry = self.ledger.open(node, Peer("test"), group, form, "ADS")
        client = Client(view, form, recorder=entry)
        entry.session = client.session
        return client

    def entries(self, **request: Any) -> dict[str, Any]:
        """The only client's entries by name."""
        [client] = self.ask(**request).config
        return {entry.name: entry for entry in client.generic_xds_configs}

    def states(self) -> dict[str, str]:
        return {name: NAMES[entry.config_status] for name, entry in self.entries().items()}

    def ids(self, *matchers: dict[str, Any], bound: str = "*") -> list[str]:
        return [client.node.id for client in self.ask(bound, node_matchers=list(matchers)).config]

    def ask(self, bound: str = "*", **request: Any) -> Any:
        return csds.respond(self.ledger, proto.from_dict(messages().request, request), bound)


@FORMS
def test_a_resource_is_stale_until_it_is_acked(form: Form) -> None:
    proxies = Proxies()
    client = proxies.add(View([endpoints("a")]), form)
    client.ask(E, "a", "ghost")
    assert proxies.states() == {"a": "STALE", "ghost": "NOT_SENT"}
    client.ack(E)
    assert proxies.states() == {"a": "SYNCED", "ghost": "NOT_SENT"}
    client.update(endpoints("a", "2"))
    assert proxies.states()["a"] == "STALE"
    client.ack(E)
    assert proxies.states()["a"] == "SYNCED"


@FORMS
def test_what_waits_to_be_sent_is_stale_with_the_version_that_the_client_has(form: Form) -> None:
    proxies = Proxies()
    client = proxies.add(View([endpoints("a"), endpoints("b")]), form)
    client.ask(E, "a", "b")
    client.ack(E)
    client.update(endpoints("a", "2"))
    client.update(endpoints("b", "2"))  # not sent: the response with `a` is under way
    entries = proxies.entries()
    assert proxies.states() == {"a": "STALE", "b": "STALE"}
    assert entries["a"].version_info == endpoints("a", "2").version
    assert entries["b"].version_info == endpoints("b").version


@FORMS
def test_a_refusal_is_an_error_with_the_clients_words_until_it_accepts(form: Form) -> None:
    proxies = Proxies()
    client = proxies.add(View([cluster("good"), cluster("bad")]), form)
    client.ask(C)
    proxies.now += 5
    client.nack(C, "Error adding/updating cluster(s) bad: no such thing")
    assert proxies.states() == {"bad": "ERROR", "good": "SYNCED"}
    error = proxies.entries()["bad"].error_state
    assert error.details == "Error adding/updating cluster(s) bad: no such thing"
    assert error.version_info == client.view.version(C)
    assert error.last_update_attempt.seconds == 1005
    assert not proxies.entries()["good"].HasField("error_state")
    client.update(cluster("bad", "2"))
    assert proxies.states()["bad"] == "ERROR"
    client.ack(C)
    assert proxies.states() == {"bad": "SYNCED", "good": "SYNCED"}
    assert not proxies.entries()["bad"].HasField("error_state")


def test_each_refused_resource_has_its_own_words() -> None:
    proxies = Proxies()
    client = proxies.add(View([route("q", "a"), route("r", "a")]), Form.DELTA)
    client.ask(R, "q", "r")
    client.nack(R, "one of them")
    client.nack(R, "q: no")
    client.nack(R, "r: no")
    assert {name: one.error_state.details for name, one in proxies.entries().items()} == {
        "q": "q: no",
        "r": "r: no",
    }


@FORMS
def test_versions_times_and_contents(form: Form) -> None:
    proxies = Proxies()
    client = proxies.add(View([cluster("a")]), form)
    client.ask(C)
    client.ack(C)
    entry = proxies.entries()["a"]
    assert entry.type_url == C
    assert entry.version_info == cluster("a").version
    assert entry.last_updated.seconds == 1000
    assert (entry.xds_config.type_url, entry.xds_config.value) == (C, b"a:1")
    # What the client says of itself is not known here.
    assert entry.client_status == admin.ClientResourceStatus.Value("UNKNOWN")
    bare = proxies.entries(exclude_resource_contents=True)["a"]
    assert not bare.HasField("xds_config")
    assert bare.version_info == entry.version_info


@FORMS
def test_secrets_are_never_shown(form: Form) -> None:
    proxies = Proxies()
    client = proxies.add(View([secret("key", "hush")]), form)
    client.ask(S, "key")
    client.ack(S)
    assert proxies.states() == {"key": "SYNCED"}
    assert proxies.entries()["key"].version_info == secret("key", "hush").version
    assert b"hush" not in proxies.ask().SerializeToString()


def test_a_version_that_a_returning_client_brought_is_shown_without_contents() -> None:
    proxies = Proxies()
    client = proxies.add(View([endpoints("a", "2")]))
    client.session.request(_returning(), client.now)
    entry = proxies.entries()["a"]
    assert NAMES[entry.config_status] == "STALE"
    assert entry.version_info == "older"
    assert not entry.HasField("xds_config")


def _returning() -> Any:
    from dragoman.xds.wire import Request

    return Request(E, names=["a"], versions={"a": "older"})


def test_every_type_and_every_stream_is_listed() -> None:
    proxies = Proxies()
    view = View([cluster("a"), endpoints("a")])
    for name in ("two", "one", "one"):
        client = proxies.add(view, id=name, role="edge")
        client.ask(C)
        client.ask(E, "a")
        client.ask(L)
        client.ask(R, "r")
    answer = proxies.ask()
    assert [client.node.id for client in answer.config] == ["one", "one", "two"]
    assert {(entry.type_url, entry.name) for entry in answer.config[0].generic_xds_configs} == {
        (C, "a"),
        (E, "a"),
        (R, "r"),
    }
    node = answer.config[0].node
    assert node.cluster == "shop/edge"
    assert proto.to_dict(node.metadata) == {"role": "edge"}


def test_a_stream_that_ended_is_not_listed() -> None:
    proxies = Proxies()
    proxies.add(View())
    [stream] = proxies.ledger.streams()
    stream.close()
    assert proxies.ids() == []


# Which proxies


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ({"exact": "edge-1"}, True),
        ({"exact": "EDGE-1"}, False),
        ({"exact": "EDGE-1", "ignore_case": True}, True),
        ({"prefix": "edge"}, True),
        ({"prefix": "dge"}, False),
        ({"suffix": "-1"}, True),
        ({"suffix": "-2"}, False),
        ({"contains": "GE-", "ignore_case": True}, True),
        ({"contains": "xx"}, False),
        ({"safe_regex": {"regex": r"edge-\d"}}, True),
        ({"safe_regex": {"regex": "edge"}}, False),  # the whole id
        ({"custom": {"name": "unknown"}, "ignore_case": True}, False),
    ],
)
def test_matching_by_node_id(pattern: dict[str, Any], found: bool) -> None:
    proxies = Proxies()
    proxies.add(View())
    assert proxies.ids({"node_id": pattern}) == (["edge-1"] if found else [])


def metadata(value: dict[str, Any], *path: str) -> dict[str, Any]:
    return {"node_metadatas": [{"path": [{"key": key} for key in path], "value": value}]}


@pytest.mark.parametrize(
    ("matcher", "found"),
    [
        (metadata({"string_match": {"exact": "edge"}}, "role"), True),
        (metadata({"string_match": {"exact": "edge"}}, "size"), False),
        (metadata({"string_match": {"exact": "canary"}}, "deploy", "track", "name"), True),
        (metadata({"string_match": {"exact": "canary"}}, "deploy", "role", "name"), False),
        (metadata({"double_match": {"exact": 3}}, "size"), True),
        (metadata({"double_match": {"range": {"start": 1, "end": 3}}}, "size"), False),
        (metadata({"double_match": {"range": {"start": 3, "end": 4}}}, "size"), True),
        (metadata({"double_match": {"exact": 1}}, "beta"), False),
        (metadata({"bool_match": True}, "beta"), True),
        (metadata({"bool_match": False}, "beta"), False),
        (metadata({"present_match": True}, "role"), True),
        (metadata({"present_match": True}, "other"), False),
        (metadata({"null_match": {}}, "role"), False),
        (metadata({"list_match": {"one_of": {"string_match": {"exact": "b"}}}}, "zones"), True),
        (metadata({"list_match": {"one_of": {"string_match": {"exact": "c"}}}}, "zones"), False),
        (
            metadata(
                {"or_match": {"value_matchers": [{"bool_match": True}, {"string_match": {"prefix": "e"}}]}},
                "role",
            ),
            True,
        ),
    ],
)
def test_matching_by_metadata(matcher: dict[str, Any], found: bool) -> None:
    proxies = Proxies()
    proxies.add(View(), **METADATA)
    assert proxies.ids(matcher) == (["edge-1"] if found else [])


def test_matchers_are_alternatives_and_what_one_says_is_needed_together() -> None:
    proxies = Proxies()
    for name, role in (("one", "edge"), ("two", "edge"), ("three", "mesh")):
        proxies.add(View(), id=name, role=role)
    edge = metadata({"string_match": {"exact": "edge"}}, "role")
    one, three = {"node_id": {"exact": "one"}}, {"node_id": {"exact": "three"}}
    assert proxies.ids(one, three) == ["one", "three"]
    assert proxies.ids({**one, **edge}, {**three, **edge}) == ["one"]
    assert proxies.ids(edge) == ["one", "two"]
    assert proxies.ids() == ["one", "three", "two"]


def test_an_answer_is_bounded_by_the_callers_group() -> None:
    proxies = Proxies()
    proxies.add(View(), id="a", group="shop/edge")
    proxies.add(View(), id="b", group="shop/edge,shop/mesh")
    proxies.add(View(), id="c", group="bank/vault")
    proxies.add(View(), id="d", group="*")
    assert proxies.ids(bound="*") == ["a", "b", "c", "d"]
    assert proxies.ids(bound="shop/*") == ["a", "b"]
    assert proxies.ids(bound="shop/edge") == ["a"]
    assert proxies.ids({"node_id": {"exact": "c"}}, bound="shop/*") == []


def test_a_matcher_that_is_no_expression_is_told() -> None:
    proxies = Proxies()
    proxies.add(View())
    with pytest.raises(re2.error):
        proxies.ids({"node_id": {"safe_regex": {"regex": "("}}})
