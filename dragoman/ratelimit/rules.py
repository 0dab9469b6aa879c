"""What a limit is, and which limits a descriptor hits.

A `Rule` says: descriptors of this shape, in this domain, have this limit. Rules come from `goconfig` (files)
or from the control plane; `Table` is the immutable form that is looked up, and a new configuration is a new
table. A descriptor is a list of (key, value) entries. At each entry a table prefers the exact value, then
wildcards in the order in which they were given, then the key alone; a limit applies only where the
descriptor ends at the rule's depth, and nothing is tried twice (envoyproxy/ratelimit's order, kept because
its files come here unchanged).

A look-up costs a dictionary access for each entry, and for a level with wildcards what `patterns` says.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from dragoman.ratelimit import patterns
from dragoman.ratelimit.algorithms import Algorithm
from dragoman.refs import Origin

Entry = tuple[str, str]
"""Key and value of one entry of a descriptor."""


class OnError(enum.Enum):
    """What a limit does while its store does not answer: let pass, deny, count here, in this process, or
    leave the call unanswered, so that Envoy's filter does what it does without the service."""

    OPEN = "open"
    CLOSED = "closed"
    LOCAL = "local"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Presentation:
    """What the client is told. `x_ratelimit`: X-RateLimit-Limit, -Remaining and -Reset; `draft`:
    RateLimit-Limit, -Remaining, -Reset and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-07);
    `retry_after` and `body` (JSON) on denials only. `message` is the body's.
    """

    x_ratelimit: bool = False
    draft: bool = False
    retry_after: bool = False
    body: bool = False
    message: str = ""


SILENT: Final = Presentation()


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit.

    `algorithm` None: unlimited, nothing is counted. `name` is what clients, metadata and other limits'
    `replaces` call it; `metric` what metrics call it; `policy` the object behind it (`shop/per-user`).
    `shadow`: counted, never denied. `quota`: denies only together with all other quota limits that the
    request hits. `cost`: hits per hit. `metadata` goes along in the response's dynamic metadata.
    """

    algorithm: Algorithm | None
    name: str = ""
    metric: str = ""
    policy: str = ""
    shadow: bool = False
    quota: bool = False
    on_error: OnError = OnError.OPEN
    cost: int = 1
    replaces: frozenset[str] = frozenset()
    presentation: Presentation = SILENT
    metadata: Mapping[str, Any] | None = field(default=None, compare=False)
    origin: Origin | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Match:
    """One entry of a rule. `value` None: any value, each with its own count. `*` in a value stands for any
    text if `wildcard`; `shared` lets all values that match count together, `counted` False leaves this entry
    out of what is counted by. `measured`: metrics name the value.
    """

    key: str
    value: str | None = None
    wildcard: bool = False
    shared: bool = False
    counted: bool = True
    measured: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """Descriptors of this shape have these limits (none: they are known, and not limited).

    `plans`: by the value of the entry `plan_key`, other limits than `limits`; whose plan changes keeps the
    count, for it is the plan that decides how much, not what is counted.
    """

    domain: str
    matches: tuple[Match, ...]
    limits: tuple[Limit, ...] = ()
    plan_key: str = ""
    plans: Mapping[str, tuple[Limit, ...]] = field(default_factory=dict)

    def branches(self) -> Iterable[tuple[tuple[Match, ...], tuple[Limit, ...]]]:
        """The rule without plans: one for each plan, and one for those who have none of them."""
        if not self.plan_key:
            yield self.matches, self.limits
            return
        for plan, limits in self.plans.items():
            yield self._with_plan(plan), limits
        yield self._with_plan(None), self.limits

    def _with_plan(self, plan: str | None) -> tuple[Match, ...]:
        return tuple(
            Match(each.key, plan, counted=False) if each.key == self.plan_key else each
            for each in self.matches
        )


@dataclass(frozen=True, slots=True)
class Hit:
    """A limit that a descriptor hits. `counted`: the entries by which it counts, patterns in the place of
    shared values. `metric`: the limit's, with the values that it is to name.
    """

    limit: Limit
    counted: tuple[Entry, ...]
    metric: str


class Node:
    """One level of a table. Built by `Table`, read by `Table.find`. `matches` are those of the rule that ends
    here: rules that share the way to a node may count and name by it each in its own way.
    """

    __slots__ = ("bare", "compiled", "exact", "limits", "matches", "wild")

    def __init__(self) -> None:
        self.exact: dict[Entry, Node] = {}
        self.bare: dict[str, Node] = {}
        self.wild: dict[str, dict[str, Node]] = {}
        self.compiled: dict[str, tuple[patterns.Patterns, tuple[Node, ...]]] = {}
        self.limits: tuple[Limit, ...] | None = None
        self.matches: tuple[Match, ...] = ()

    def child(self, match: Match) -> Node:
        """The node below for this entry; made where there is none."""
        if match.value is None:
            return self.bare.setdefault(match.key, Node())
        if match.wildcard:
            return self.wild.setdefault(match.key, {}).setdefault(match.value, Node())
        return self.exact.setdefault((match.key, match.value), Node())

    def below(self) -> Iterator[Node]:
        yield from self.exact.values()
        yield from self.bare.values()
        for nodes in self.wild.values():
            yield from nodes.values()

    def compile(self) -> None:
        """Makes the patterns ready, here and below."""
        for key, nodes in self.wild.items():
            self.compiled[key] = patterns.Patterns(tuple(nodes)), tuple(nodes.values())
        for node in self.below():
            node.compile()

    def step(self, key: str, value: str) -> Node | None:
        found = self.exact.get((key, value))
        if found is None and key in self.compiled:
            these, nodes = self.compiled[key]
            if (index := these.first(value)) >= 0:
                found = nodes[index]
        return found if found is not None else self.bare.get(key)


class Table:
    """All rules, ready to be looked up. Of two rules for the same descriptors the first counts."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._domains: dict[str, Node] = {}
        for rule in rules:
            root = self._domains.setdefault(rule.domain, Node())
            for matches, limits in rule.branches():
                node = root
                for match in matches:
                    node = node.child(match)
                if node.limits is None:
                    node.limits, node.matches = limits, matches
        for root in self._domains.values():
            root.compile()

    def __contains__(self, domain: str) -> bool:
        return domain in self._domains

    def __len__(self) -> int:
        """How many limits there are."""
        return sum(1 for _ in self.limits())

    def domains(self) -> list[str]:
        return list(self._domains)

    def roots(self) -> Iterator[tuple[str, Node]]:
        """Domains, each with what stands above its first entries."""
        yield from self._domains.items()

    def limits(self) -> Iterator[Limit]:
        """Every limit, once for each place where it stands."""
        nodes = list(self._domains.values())
        while nodes:
            node = nodes.pop()
            yield from node.limits or ()
            nodes += node.below()

    def find(self, domain: str, entries: Sequence[Entry]) -> tuple[Hit, ...]:
        """The limits that a descriptor hits; none where it is not known, or not limited."""
        node = self._domains.get(domain)
        if node is None or not entries:
            return ()
        for key, value in entries:
            node = node.step(key, value)
            if node is None:
                return ()
        if not node.limits:
            return ()
        counted = tuple(
            (key, match.value or "") if match.shared else (key, value)
            for (key, value), match in zip(entries, node.matches, strict=True)
            if match.counted
        )
        named = ""
        if any(match.measured for match in node.matches):
            named = ".".join(
                [
                    domain,
                    *(_named(match, value) for (_, value), match in zip(entries, node.matches, strict=True)),
                ]
            )
        return tuple(Hit(limit, counted, named or limit.metric) for limit in node.limits)

    def find_unordered(self, domain: str, entries: Iterable[Entry]) -> tuple[Hit, ...]:
        """`find` for entries that have no order, each key once: in an order that a rule has."""
        node = self._domains.get(domain)
        found = None if node is None else _ordered(node, tuple(entries))
        return () if found is None else self.find(domain, found)


def _ordered(node: Node, entries: tuple[Entry, ...]) -> tuple[Entry, ...] | None:
    """The entries in an order that ends at a rule below `node`. No node is tried twice: there is but one
    way to each.
    """
    if not entries:
        return None if node.limits is None else ()
    for position, entry in enumerate(entries):
        child = node.step(*entry)
        if child is not None:
            rest = _ordered(child, entries[:position] + entries[position + 1 :])
            if rest is not None:
                return (entry, *rest)
    return None


def metric(domain: str, matches: Iterable[Match]) -> str:
    """What metrics call a limit that says nothing else: `domain.key_value.key`."""
    return ".".join([domain, *(_named(match, None) for match in matches)])


def _named(match: Match, value: str | None) -> str:
    if match.measured and not match.shared and value is not None:
        return f"{match.key}_{value}" if value else match.key
    return match.key if match.value is None else f"{match.key}_{match.value}"
