"""Limits on how many requests pass: what a route asks to be counted, by what, and what becomes of the rest.

Part of `ir.model`. A limit is counted by Envoy itself (`local`) or by the rate-limit service. Both are told
what a request is by a *descriptor*: a list of entries, which `shapes` gives without the values that only a
request has. The encoder makes Envoy's actions of it and the service its rules, so that the two agree.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from dragoman.refs import Origin

LONGEST_QUEUE: Final = 60.0
"""Seconds that a request may wait for its turn."""

ABSENT: Final = "-"
"""The value of a key part that a request does not have: all such requests share a count."""


class Counting(enum.Enum):
    """How a limit counts; `dragoman.ratelimit.algorithms` has one module for each."""

    FIXED_WINDOW = "FixedWindow"
    SLIDING_LOG = "SlidingWindowLog"
    SLIDING_COUNTER = "SlidingWindowCounter"
    TOKEN_BUCKET = "TokenBucket"
    LEAKY_BUCKET = "LeakyBucket"


class Where(enum.Enum):
    """Who counts: the service, exactly; Envoy itself; or Envoy itself by what the service assigns to it."""

    GLOBAL = "Global"
    LOCAL = "Local"
    QUOTA = "Quota"


class Sharing(enum.Enum):
    """What shares a count: all requests of a Gateway that have the limit, or those of one route or rule."""

    GATEWAY = "Gateway"
    ROUTE = "Route"
    RULE = "Rule"


class Failure(enum.Enum):
    """What a limit does when it cannot be counted."""

    OPEN = "Open"
    CLOSED = "Closed"
    LOCAL = "Local"


class Part(enum.Enum):
    """What a key is made of."""

    ADDRESS = "ClientAddress"
    HEADER = "Header"
    COOKIE = "Cookie"
    QUERY = "Query"
    PATH = "Path"
    METHOD = "Method"
    HOST = "Host"
    CLAIM = "Claim"
    CONSUMER = "Consumer"
    API_KEY = "ApiKey"
    PLAN = "Plan"


CLIENT_PARTS: Final = (Part.CONSUMER, Part.API_KEY, Part.PLAN)
"""Parts that somebody has to have found out before."""
QUOTA_PARTS: Final = CLIENT_PARTS
"""Parts that have few values, whatever clients send."""
QUOTAS: Final = "quotas"
"""The domain of all limits that are quotas."""


@dataclass(frozen=True, slots=True)
class KeyPart:
    """`name` is the header's (lower case), cookie's, parameter's or claim's (`a.b`: within `a`). Addresses
    are cut to so many bits."""

    part: Part
    name: str = ""
    bits4: int = 32
    bits6: int = 64


@dataclass(frozen=True, slots=True)
class Condition:
    """A header (or `:method`, `:path`) that a request must have, or must not. `value` None: any value."""

    header: str
    value: str | None = None
    regex: bool = False
    invert: bool = False


@dataclass(frozen=True, slots=True)
class Cost:
    """Hits of one request, as a header says, or metadata (`path` begins with their namespace); of a response
    they are charged when all is done."""

    header: str
    response: bool = False
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What clients with the plan `name` have instead; `amount` None: as much as they want."""

    name: str
    amount: int | None
    window: float
    burst: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """What clients learn. `message` "": a default one."""

    x_ratelimit: bool = True
    draft: bool = False
    retry_after: bool = True
    body: bool = True
    message: str = ""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`amount` hits in `window` seconds. `id` says which policies made it, and its name: what has the same id
    counts together. `burst` 0: the algorithm's default. `plans`: other numbers for some clients. `status` of
    a denial, and `timeout` of an answer in seconds; 0: what is customary. `place`: the route or rule, where
    these count apart. `gateway`: filled in where the route stands.
    """

    id: str
    name: str
    policy: str
    amount: int
    window: float
    counting: Counting
    where: Where = Where.GLOBAL
    burst: int = 0
    delay: int = 0
    nodelay: bool = False
    key: tuple[KeyPart, ...] = ()
    when: tuple[Condition, ...] = ()
    sharing: Sharing = Sharing.GATEWAY
    cost: Cost | None = None
    shadow: bool = False
    failure: Failure = Failure.OPEN
    told: Told = Told()
    plans: tuple[Plan, ...] = ()
    status: int = 0
    timeout: float = 0.0
    place: str = ""
    gateway: str = ""
    origin: Origin | None = field(default=None, compare=False)

    @property
    def local(self) -> bool:
        """Whether Envoy counts by itself, and nobody is asked."""
        return self.where is Where.LOCAL

    @property
    def quota(self) -> bool:
        return self.where is Where.QUOTA

    @property
    def asked(self) -> bool:
        """Whether the service is asked about each request."""
        return self.where is Where.GLOBAL

    @property
    def own(self) -> bool:
        """Whether it wants something that is not customary of Envoy's filter."""
        return bool(self.status or self.timeout)

    @property
    def queues(self) -> bool:
        """Whether requests wait for their turn."""
        return self.counting is Counting.LEAKY_BUCKET and self.burst > 0 and not self.nodelay


class Entry(NamedTuple):
    """One entry of a descriptor. `value` None: as the request has it. Entries that are not `counted` only say
    why the descriptor was sent."""

    key: str
    value: str | None = None
    counted: bool = True


Shape = tuple[Entry, ...]
GATEWAY: Final = "gateway"
"""For the service that is asked it is the domain."""
LIMIT: Final = "limit"
PLACE: Final = "place"
WHEN: Final = "when"
OF_PLAN: Final = "of-plan"
"""The plan that gives the numbers; `ABSENT` for clients that have none of the limit's."""
COST: Final = "cost"
SAID: Final = "said"
DEFAULT: Final = "default"
"""Values of the entry `cost`: whether the request says one."""


def shapes(limit: RateLimit) -> Iterator[Shape]:
    """Every form that the limit's descriptor may have: without query parameters that a request lacks, with or
    without a cost that it says. Envoy's own buckets are found by all entries, so there a cost makes one
    form."""
    costs: tuple[str, ...] = ("",)
    if limit.cost is not None and not limit.cost.response:
        costs = (SAID,) if limit.local else (SAID, DEFAULT)
    optional = [part for part in limit.key if part.part is Part.QUERY]
    for cost in costs:
        for count in range(len(optional) + 1):
            for missing in itertools.combinations(optional, count):
                kept = [part for part in limit.key if not any(part is one for one in missing)]
                yield (*_head(limit, cost), *(Entry(entry_key(part)) for part in kept))


def _head(limit: RateLimit, cost: str) -> Iterator[Entry]:
    if not limit.asked:
        yield Entry(GATEWAY, limit.gateway)
    yield Entry(LIMIT, limit.id)
    if limit.place:
        yield Entry(PLACE, limit.place)
    if not limit.quota:  # a quota's conditions are looked at before there is a descriptor
        for number in range(len(limit.when)):
            yield Entry(WHEN, str(number), counted=False)
    if limit.plans:
        yield Entry(OF_PLAN, counted=False)
    if cost:
        yield Entry(COST, cost, counted=False)


def head(limit: RateLimit, cost: str = "") -> tuple[Entry, ...]:
    """The entries before the key's."""
    return tuple(_head(limit, cost))


def entry_key(part: KeyPart) -> str:
    """What a key part's entry is called; the masked address's name is Envoy's."""
    if part.part is Part.ADDRESS:
        return "masked_remote_address"
    return f"{part.part.value.lower()}:{part.name}" if part.name else part.part.value.lower()
