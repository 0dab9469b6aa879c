"""Which group a node gets: rules in order, what the node says, and certificates."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.config import NodeRule
from dragoman.xds import groups
from dragoman.xds.groups import Admission, Refusal
from dragoman.xds.types import Node, Peer

PLAIN = Peer("ipv4:10.0.0.7:4711")


def node(cluster: str = "", *, id: str = "edge-1", **metadata: Any) -> Node:
    return Node(id, cluster, metadata)


def code(found: Admission | Refusal) -> str:
    assert isinstance(found, Refusal)
    return found.code


@pytest.mark.parametrize(
    ("given", "group"),
    [
        (node(gateways=["shop/edge"]), "shop/edge"),
        (node(gateways=["shop/b", "shop/a", "shop/b"]), "shop/a,shop/b"),
        (node(gateways="shop/b, shop/a"), "shop/a,shop/b"),
        (node(gateway="shop/edge"), "shop/edge"),
        (node("shop/edge"), "shop/edge"),
        (node("shop/b,shop/a"), "shop/a,shop/b"),
        (node("shop/cluster", gateways=["shop/edge"]), "shop/edge"),  # metadata goes first
        (node("shop/*"), "shop/*"),
        (node(gateways=["shop/*", "shop/edge", "bank/vault"]), "bank/vault,shop/*"),
        (node("*"), "*"),
        (node(gateways=["*", "shop/edge"]), "*"),
    ],
)
def test_without_rules_a_node_gets_what_it_asks_for(given: Node, group: str) -> None:
    assert groups.resolve((), given, PLAIN) == Admission(group)


@pytest.mark.parametrize("cluster", ["", "edge", "/edge", "shop/", "*/edge", "shop/ed*", "a/b/c", "shop/a,b"])
def test_what_names_no_gateway_is_told_so(cluster: str) -> None:
    assert code(groups.resolve((), node(cluster), PLAIN)) == "INVALID_ARGUMENT"


def test_the_first_rule_that_holds_wins() -> None:
    rules = (
        NodeRule(id="edge-9*", reject=True),
        NodeRule(id="edge-*", gateways=("shop/edge",)),
        NodeRule(gateways=("shop/mesh",)),
    )
    assert groups.resolve(rules, node(), PLAIN) == Admission("shop/edge")
    assert groups.resolve(rules, node(id="other"), PLAIN) == Admission("shop/mesh")
    assert code(groups.resolve(rules, node(id="edge-99"), PLAIN)) == "PERMISSION_DENIED"


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        (NodeRule(), True),
        (NodeRule(id="edge-*"), True),
        (NodeRule(id="EDGE-*"), False),
        (NodeRule(cluster="shop/*"), True),
        (NodeRule(cluster="shop"), False),
        (NodeRule(id="edge-*", cluster="bank/*"), False),  # every condition
        (NodeRule(metadata={"role": "ed*"}), True),
        (NodeRule(metadata={"role": "ed*", "size": "3"}), True),
        (NodeRule(metadata={"size": "3.0"}), False),
        (NodeRule(metadata={"beta": "true"}), True),
        (NodeRule(metadata={"zones": "*"}), False),  # a list is no text
        (NodeRule(metadata={"missing": "*"}), False),
        (NodeRule(san="*"), False),  # no certificate
    ],
)
def test_conditions(rule: NodeRule, holds: bool) -> None:
    given = node("shop/edge", role="edge", size=3.0, beta=True, zones=["a"])
    assert groups.matches(rule, given, PLAIN) is holds


def test_gateways_of_a_rule_are_given_whatever_the_node_says() -> None:
    rules = (NodeRule(gateways=("shop/edge",), secrets=False),)
    assert groups.resolve(rules, node("bank/vault"), PLAIN) == Admission("shop/edge", secrets=False)


def test_patterns_of_a_rule_bound_what_the_node_may_ask_for() -> None:
    rules = (NodeRule(gateways=("shop/*", "mesh/inner")),)
    assert groups.resolve(rules, node("shop/edge"), PLAIN) == Admission("shop/edge")
    assert groups.resolve(rules, node("mesh/inner"), PLAIN) == Admission("mesh/inner")
    assert groups.resolve(rules, node("shop/*"), PLAIN) == Admission("shop/*")
    assert groups.resolve(rules, node(), PLAIN) == Admission("mesh/inner,shop/*")
    for beyond in ("bank/vault", "mesh/*", "*", "shop/edge,bank/vault"):
        assert code(groups.resolve(rules, node(beyond), PLAIN)) == "PERMISSION_DENIED"
    assert groups.resolve((NodeRule(gateways=("*",)),), node("bank/vault"), PLAIN) == Admission("bank/vault")


def test_once_certificates_decide_a_node_without_a_rule_is_turned_away() -> None:
    rules = (NodeRule(san="spiffe://example.org/ns/shop/*", gateways=("shop/*",)),)
    shop = Peer("x", ("spiffe://example.org/ns/shop/sa/edge",))
    bank = Peer("x", ("spiffe://example.org/ns/bank/sa/vault",))
    assert groups.resolve(rules, node("shop/edge"), shop) == Admission("shop/edge")
    for peer in (bank, PLAIN):
        assert code(groups.resolve(rules, node("shop/edge"), peer)) == "PERMISSION_DENIED"
    assert groups.resolve((NodeRule(id="other-*"),), node("shop/edge"), PLAIN) == Admission("shop/edge")


def test_groups_within_groups() -> None:
    assert groups.covers("*", "shop/a,bank/b")
    assert groups.covers("shop/*", "shop/a,shop/b")
    assert not groups.covers("shop/*", "shop/a,bank/b")
    assert not groups.covers("shop/a", "shop/*")
    assert not groups.covers("shop/*", "*")
