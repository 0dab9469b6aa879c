"""API keys: which clients have which, and that nobody sees them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dragoman.ir import model as ir
from dragoman.refs import format_path
from tests.unit.gateway.conftest import spoken
from tests.unit.gateway.test_auth import auths, closed, policy
from tests.unit.gateway.test_policies import EDGE, FIRST, GATEWAY, ROUTE

KEYS = 'kind: Secret\nmetadata: {name: keys}\nstringData: {old: first-key, new: "second-key\\n"}\n'
ALICE = (
    "kind: Consumer\nmetadata: {name: alice}\nspec: {apiKeys: [{name: keys}], groups: [a, b], plan: gold}\n"
)
SET = ir.KeySet("default")


@pytest.fixture
def edge(world: Any) -> Any:
    return world.apply(GATEWAY)


def key_of(client: ir.Client, entry: str) -> ir.Client:
    """The client as it is known by a key of Secret `keys`."""
    return replace(client, credential=f"default/keys/{entry}")


def held(world: Any, of: ir.KeySet = SET) -> dict[str, ir.Client]:
    shards = [held for key, held in world.outputs.contents.items() if key.of == of]
    return dict(sorted(one for held in shards for one in held.credentials))


def resolved(world: Any) -> str:
    return spoken(world.status("AuthPolicy", "p")["ancestors"][0])["ResolvedRefs"]


def test_every_entry_is_a_key_of_the_consumer(edge: Any) -> None:
    edge.apply(KEYS, ALICE)
    alice = ir.Client("alice", SET, ("a", "b"), "gold")
    assert held(edge) == {"first-key": key_of(alice, "old"), "second-key": key_of(alice, "new")}
    assert edge.conditions("Consumer", "alice") == {
        "Accepted": "True Accepted",
        "ResolvedRefs": "True ResolvedRefs",
    }
    edge.apply(ALICE.replace("{name: keys}", "{name: keys, key: new}"))
    assert list(held(edge)) == ["second-key"]


def test_entries_that_change_places_are_told_apart(edge: Any) -> None:
    edge.apply(KEYS, ALICE)
    edge.apply(KEYS.replace("old", "newer").replace("new:", "old:"))
    known = {key: client.credential for key, client in held(edge).items()}
    assert known == {"first-key": "default/keys/newer", "second-key": "default/keys/old"}


def test_a_key_that_is_taken_away_is_gone_and_no_route_is_made_anew(edge: Any) -> None:
    edge.apply(KEYS, ALICE, policy("p", EDGE, "apiKeys: {}"))
    before = edge.routes()
    edge.apply("kind: Secret\nmetadata: {name: keys}\nstringData: {new: second-key}\n")
    assert list(held(edge)) == ["second-key"]
    edge.remove("Consumer", "alice")
    assert not held(edge)
    assert edge.routes() is before


def test_a_policy_names_sets_and_sources(edge: Any) -> None:
    edge.apply(
        policy("p", EDGE, "apiKeys: {}"),
        policy("q", FIRST, "apiKeys: {queryParams: [k], groups: [a], secretRefs: [{name: more}]}"),
    )
    first, second, _ = auths(edge)
    more = ir.KeySet("default", "more")
    assert first is not None
    assert first.keys == ir.ApiKeys((SET, more), params=("k",), groups=("a",))
    assert second is not None
    assert second.keys == ir.ApiKeys((SET,), ("x-api-key",))


def test_entries_of_a_secret_are_clients(edge: Any) -> None:
    edge.apply(policy("p", EDGE, "apiKeys: {secretRefs: [{name: keys}]}"))
    assert closed(edge) == [False, False, False]  # nobody has a key, so nobody passes
    assert edge.finding("DRG1811").message == "Secret default/keys is not there"
    assert resolved(edge) == "False InvalidKeys"
    edge.apply(KEYS)
    of = ir.KeySet("default", "keys")
    assert held(edge, of) == {
        "first-key": key_of(ir.Client("old", of), "old"),
        "second-key": key_of(ir.Client("new", of), "new"),
    }
    assert resolved(edge) == "True ResolvedRefs"
    edge.remove("AuthPolicy", "p")
    assert not held(edge, of)


def test_two_clients_with_one_key_are_told_so(edge: Any) -> None:
    edge.apply(KEYS, ALICE, ALICE.replace("alice", "bob").replace("{name: keys}", "{name: keys, key: old}"))
    found = [(ref.name, one) for ref, several in edge.outputs.diagnostics.items() for one in several]
    said = {(name, one.code, format_path(one.path)) for name, one in found if one.code.startswith("DRG18")}
    assert said == {("alice", "DRG1812", "spec.apiKeys[0]"), ("bob", "DRG1812", "spec.apiKeys[0]")}
    assert edge.conditions("Consumer", "bob")["ResolvedRefs"] == "False InvalidKeys"


def test_keys_are_not_in_what_is_said_and_shown(edge: Any) -> None:
    edge.apply(KEYS, ALICE, ALICE.replace("alice", "bob"), policy("p", EDGE, "apiKeys: {}"))
    shown = [repr(list(edge.outputs.contents.items())), repr(edge.routes())]
    for collection in edge.graph.collections:
        if "key" in collection.name or "credential" in collection.name:
            shown += [repr(item) for item in collection.items()]
    shown += [repr(item) for item in edge.outputs.diagnostics.items()]
    shown += [repr(item) for item in edge.outputs.statuses.items()]
    assert len(shown) > 8
    assert not [one for one in shown if "first-key" in one or "second-key" in one]


def test_rules_on_consumers_and_groups(edge: Any) -> None:
    edge.apply(policy("p", EDGE, "rules: {allow: [{consumers: [x], groups: [a]}]}"))
    auth = auths(edge)[0]
    assert auth is not None
    assert auth.rules is not None
    assert auth.rules.allow == (ir.AuthRule(consumers=("x",), groups=("a",)),)


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("apiKeys: {headers: ['a b']}", "DRG1103 spec.apiKeys.headers[0]"),
        ("apiKeys: {queryParams: ['a=b']}", "DRG1103 spec.apiKeys.queryParams[0]"),
        ("apiKeys: {groups: ['a,b']}", "DRG1103 spec.apiKeys.groups[0]"),
        ("apiKeys: {key: x}", "DRG1101 spec.apiKeys.key"),
    ],
)
def test_what_is_refused(edge: Any, spec: str, found: str) -> None:
    edge.apply(policy("p", ROUTE, spec))
    assert [f"{d.code} {format_path(d.path)}" for d in edge.rejected[edge.ref("AuthPolicy", "p")]] == [found]


def test_consumers_that_keys_in_redis_may_name(edge: Any) -> None:
    """The companion is told of them where a policy looks keys up; one that changes leaves other parts."""

    def told() -> dict[tuple[str, str], Any]:
        return {key: one for key, one in edge.outputs.lookups.items() if key[0] == "Members"}

    edge.apply(KEYS, ALICE, "kind: Consumer\nmetadata: {name: carl}\nspec: {groups: [c]}\n")
    assert not told()
    edge.apply(policy("p", EDGE, "redisKeys: {}"))
    before = told()
    found = {one.id: one for part in before.values() for one in part.clients}
    assert found == {
        "alice": ir.Client("alice", SET, ("a", "b"), "gold"),
        "carl": ir.Client("carl", SET, ("c",)),
    }
    edge.apply(ALICE.replace("gold", "free"))
    after = told()
    assert len(before) == len(after) == 2
    assert sum(before[key] is after[key] for key in after) == 1
    edge.apply(policy("p", EDGE, "redisKeys: {disabled: true}"))
    assert not told()
