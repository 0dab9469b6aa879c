"""Which node group a node belongs to: the ordered rules of the settings, else what the node says of itself.

A pure function, called once per stream by the server. With client certificates the certificate decides, not
the node: as soon as any rule asks for a SAN, a node that no rule matches is turned away, and a rule's
patterns bound what the node may ask for.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dragoman import config
from dragoman.xds.types import Node, Peer

ALL: Final = "*"


@dataclass(frozen=True, slots=True)
class Admission:
    """The node is let in. `secrets` False: it sees no SDS resource."""

    group: str
    secrets: bool = True


@dataclass(frozen=True, slots=True)
class Refusal:
    """The node is turned away with this gRPC status code's name."""

    code: str
    message: str


def resolve(rules: Sequence[config.NodeRule], node: Node, peer: Peer) -> Admission | Refusal:
    """The node's group by the first rule whose every condition holds.

    A rule's `gateways` without patterns are the group, whatever the node says. With patterns (`*`, `shop/*`)
    they are the bound: what the node asks for must lie within, and if it asks for nothing it gets all of it.
    Without `gateways`, and without any rule, the node gets what it asks for.
    """
    asked = claims(node)
    for rule in rules:
        if not matches(rule, node, peer):
            continue
        if rule.reject:
            return Refusal("PERMISSION_DENIED", f"node {node.id!r} is rejected by the settings")
        if not rule.gateways:
            break
        if asked and any(ALL in pattern for pattern in rule.gateways):
            outside = [name for name in asked if not any(within(name, bound) for bound in rule.gateways)]
            if outside:
                return Refusal("PERMISSION_DENIED", f"node {node.id!r} may not have {', '.join(outside)}")
            return Admission(group_of(asked), rule.secrets)
        return Admission(group_of(rule.gateways), rule.secrets)
    else:
        if any(rule.san for rule in rules):
            return Refusal("PERMISSION_DENIED", f"no rule admits node {node.id!r} with {describe(peer)}")
        rule = config.NodeRule()
    if not asked:
        return Refusal(
            "INVALID_ARGUMENT",
            f"node {node.id!r} does not say which Gateway it is for: set node.metadata.gateways,"
            " or node.cluster, to namespace/name",
        )
    return Admission(group_of(asked), rule.secrets)


def matches(rule: config.NodeRule, node: Node, peer: Peer) -> bool:
    """Whether every condition that the rule gives holds. Patterns are the shell's; case matters."""
    if rule.id and not fnmatch.fnmatchcase(node.id, rule.id):
        return False
    if rule.cluster and not fnmatch.fnmatchcase(node.cluster, rule.cluster):
        return False
    if rule.san and not any(fnmatch.fnmatchcase(san, rule.san) for san in peer.sans):
        return False
    return all(
        isinstance(value := node.metadata.get(key), str | int | float | bool)
        and fnmatch.fnmatchcase(_text(value), pattern)
        for key, pattern in rule.metadata.items()
    )


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # protobuf's Struct has only floating point
    return str(value)


def claims(node: Node) -> tuple[str, ...]:
    """The Gateways a node asks for: metadata `gateways` or `gateway` (a list, or text with commas), else its
    cluster.

    A name without a namespace, or one with a pattern elsewhere than in the place of the name, is none.
    """
    metadata: Mapping[str, Any] = node.metadata
    for key in ("gateways", "gateway"):
        value = metadata.get(key)
        if value:
            given: Iterable[Any] = value if isinstance(value, list | tuple) else str(value).split(",")
            return tuple(name for item in given if (name := gateway(item)))
    names = [gateway(item) for item in node.cluster.split(",")]
    return tuple(names) if all(names) else ()


def gateway(item: object) -> str:
    """What a node, or `-g`, may ask for: `namespace/name`, `namespace/*` or `*`; "" for anything else."""
    text = str(item).strip()
    namespace, slash, name = text.partition("/")
    if text == ALL:
        return text
    if not slash or not namespace or not name or ALL in namespace or "/" in name:
        return ""
    return text if name == ALL or ALL not in name else ""


def within(name: str, bound: str) -> bool:
    """Whether a Gateway, or all of a namespace (`shop/*`), lies within a rule's pattern."""
    return bound in (ALL, name) or (bound.endswith("/*") and name.startswith(bound[:-1]))


def covers(bound: str, group: str) -> bool:
    """Whether everything of one group lies within another."""
    limits = bound.split(",")
    return all(any(within(name, limit) for limit in limits) for name in group.split(","))


def group_of(names: Iterable[str]) -> str:
    """The group's canonical name: sorted, without what a wildcard among them covers."""
    wanted = set(names)
    if ALL in wanted:
        return ALL
    wide = {name for name in wanted if name.endswith("/*")}
    return ",".join(sorted(name for name in wanted if name in wide or not any(within(name, w) for w in wide)))


def describe(peer: Peer) -> str:
    """The peer for a message."""
    return f"SAN {', '.join(peer.sans)}" if peer.sans else "no client certificate"
