"""From the bytes of a request to what is to be asked: parsed once for as long as the same request comes.

A `Plan` holds the asks for the store and, for each descriptor, which limits they belong to. Requests of one
client to one route are the same bytes, so a plan is looked up by them; `Plans` keeps a bounded number and is
emptied when the configuration changes.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from dragoman import proto
from dragoman.proto import texts
from dragoman.proto.envoy.extensions.common.ratelimit import v3 as common
from dragoman.proto.envoy.service.ratelimit import v3 as rls
from dragoman.ratelimit import metrics, rules, wire
from dragoman.ratelimit.algorithms import FixedWindow, base as algorithms
from dragoman.ratelimit.stores import base as stores
from dragoman.ratelimit.transport import base as transport

MOST: Final = 20_000
"""Requests that are remembered."""
LARGEST: Final = 1024
"""Bytes of a request that is remembered; larger ones are parsed every time."""

_HITS: Final = 1_000_000_000
"""The most that a descriptor may ask for, as the message's own rules have it."""

_OVERRIDE_SECONDS: Final = {1: 1, 2: 60, 3: 3600, 4: 86_400, 5: 30 * 86_400, 6: 365 * 86_400}
"""envoy.type.v3.RateLimitUnit, in seconds."""


class Part(NamedTuple):
    """One limit that a descriptor hits. `ask` is its place among the plan's asks, `hits` what is asked;
    `said` the limit as the response says it.
    """

    limit: rules.Limit
    counts: metrics.Counts
    ask: int
    hits: int
    said: bytes
    capacity: int


class Plan(NamedTuple):
    """`domain` is what metrics call it. `descriptors`: for each descriptor its parts, or None where it is
    unlimited. `request` is there for what metadata say about it. `plain`: no descriptor has more than one
    limit, and no limit does anything but count and deny.
    """

    domain: str
    asks: tuple[stores.Ask, ...]
    descriptors: tuple[tuple[Part, ...] | None, ...]
    request: bytes
    plain: bool


class Plans:
    """Two generations: what is used moves to the younger, and when that is full the elder is dropped."""

    __slots__ = ("_elder", "_most", "_young")

    def __init__(self, most: int = MOST) -> None:
        self._most = most // 2
        self._young: dict[bytes, Plan] = {}
        self._elder: dict[bytes, Plan] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._elder)

    def get(self, request: bytes) -> Plan | None:
        found = self._young.get(request)
        if found is None and (found := self._elder.get(request)) is not None:
            self.put(request, found)
        return found

    def put(self, request: bytes, plan: Plan) -> None:
        if len(request) > LARGEST:
            return
        if len(self._young) >= self._most:
            self._elder, self._young = self._young, {}
        self._young[request] = plan

    def clear(self) -> None:
        self._young = {}
        self._elder = {}


def make(request: bytes, table: rules.Table, measures: metrics.Metrics) -> Plan | transport.Status:
    """What a request asks for; a status where it is no request that could be answered."""
    try:
        message = texts.parse(rls.RateLimitRequest, request)
    except proto.DecodeError:
        return _invalid("the request is no RateLimitRequest")
    if not message.domain:
        return _invalid("the domain of a rate limit request must not be empty")
    if not message.descriptors:
        return _invalid("a rate limit request must have descriptors")
    found: list[tuple[rules.Hit, ...]] = []
    for descriptor in message.descriptors:
        if not descriptor.entries:
            return _invalid("a descriptor must have entries")
        own = _override(message.domain, descriptor) if descriptor.HasField("limit") else None
        if isinstance(own, transport.Status):
            return own
        if own is None or message.domain not in table:
            own = table.find(message.domain, [(entry.key, entry.value) for entry in descriptor.entries])
        found.append(own)
    replaced = {name for limits in found for hit in limits for name in hit.limit.replaces}
    asks: list[stores.Ask] = []
    descriptors: list[tuple[Part, ...] | None] = []
    for descriptor, limits in zip(message.descriptors, found, strict=True):
        wanted = _wanted(message, descriptor)
        kept = [
            (position, hit)
            for position, hit in enumerate(limits)
            if not hit.limit.name or hit.limit.name not in replaced
        ]
        parts: list[Part] = []
        for position, hit in kept:
            algorithm = hit.limit.algorithm
            if algorithm is None:
                continue
            key = stores.key(message.domain, hit, position, algorithm.code)
            hits = wanted * hit.limit.cost
            counts, said = measures.of(hit.metric), wire.current_limit(hit.limit)
            parts.append(Part(hit.limit, counts, len(asks), hits, said, algorithm.capacity))
            asks.append(stores.Ask(hit.limit, algorithm, key, hits))
        descriptors.append(None if kept and not parts else tuple(parts))
    plain = all(parts is None or (len(parts) <= 1 and all(map(_plain, parts))) for parts in descriptors)
    domain = message.domain if message.domain in table else metrics.OTHER
    return Plan(domain, tuple(asks), tuple(descriptors), request, plain)


def _plain(part: Part) -> bool:
    limit = part.limit
    return not (limit.shadow or limit.quota or limit.presentation is not rules.SILENT)


def _wanted(message: rls.RateLimitRequest, descriptor: common.RateLimitDescriptor) -> int:
    """The hits of a descriptor: its own number, 0 included, else the request's, which is at least 1."""
    own = descriptor.HasField("hits_addend")
    hits = descriptor.hits_addend.value if own else max(message.hits_addend, 1)
    return -min(hits, _HITS) if descriptor.is_negative_hits else min(hits, _HITS)


def _override(
    domain: str, descriptor: common.RateLimitDescriptor
) -> tuple[rules.Hit, ...] | transport.Status:
    """The limit that the request itself brings along."""
    said = descriptor.limit
    seconds = _OVERRIDE_SECONDS.get(said.unit, 0)
    number = said.unit_multiplier.value if said.HasField("unit_multiplier") else 1
    if not seconds or not number:
        return _invalid("a descriptor's own limit must have a unit")
    entries = tuple((entry.key, entry.value) for entry in descriptor.entries)
    # Without values: they are as many as clients want.
    name = ".".join([domain, *(key for key, _ in entries)])
    window = seconds * number * algorithms.SECOND
    if window > algorithms.LONGEST:
        return _invalid("a descriptor's own limit must be for 100 years at most")
    limit = rules.Limit(FixedWindow(said.requests_per_unit, window, count_denied=True), metric=name)
    return (rules.Hit(limit, entries, name),)


def _invalid(message: str) -> transport.Status:
    return transport.Status(transport.Code.INVALID_ARGUMENT, message)
