"""What is done to requests and responses themselves, beside forwarding them: a part of `ir.Route`.

Part of `ir.model`, which has the names that others need. Texts that are called templates hold Envoy's format
operators (`%REQ(x-id)%`; a literal `%` is `%%`); the translator has checked them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

Template = str
Pairs = tuple[tuple[str, Template], ...]
"""Names and values, in order."""


class Algorithm(enum.Enum):
    """A compression, by its name in `Accept-Encoding`."""

    BROTLI = "br"
    GZIP = "gzip"
    ZSTD = "zstd"


class Effort(enum.Enum):
    """How much work compression is worth."""

    FASTEST = "Fastest"
    BALANCED = "Balanced"
    SMALLEST = "Smallest"


@dataclass(frozen=True, slots=True)
class Compression:
    """Of responses. `algorithms`: the preferred first. `min_length`: shorter ones are left alone, where their
    length is known. `content_types`: exact, `text/*` or `*+json`, lower case. `weaken_etags`: a strong ETag
    becomes a weak one (else such a response would not be compressed). `except_statuses` are left alone."""

    algorithms: tuple[Algorithm, ...]
    effort: Effort
    min_length: int
    content_types: tuple[str, ...]
    weaken_etags: bool = True
    except_statuses: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class HeaderChanges:
    """Applied in the order rename, remove, set, add. Names and prefixes are lower case, values templates; one
    that comes out empty changes nothing."""

    rename: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()
    remove_prefixes: tuple[str, ...] = ()
    set: Pairs = ()
    add: Pairs = ()

    def __bool__(self) -> bool:
        return bool(self.rename or self.remove or self.remove_prefixes or self.set or self.add)

    def without(self, names: frozenset[str]) -> HeaderChanges:
        """Leaving alone the headers `names`. Prefixes stay as they are."""
        return HeaderChanges(
            tuple(one for one in self.rename if not names.intersection(one)),
            tuple(name for name in self.remove if name not in names),
            self.remove_prefixes,
            tuple(one for one in self.set if one[0] not in names),
            tuple(one for one in self.add if one[0] not in names),
        )


@dataclass(frozen=True, slots=True)
class QueryChanges:
    """Changes of query parameters, in the order remove, set, add. Values are templates."""

    remove: tuple[str, ...] = ()
    set: Pairs = ()
    add: Pairs = ()

    def __bool__(self) -> bool:
        return bool(self.remove or self.set or self.add)


@dataclass(frozen=True, slots=True)
class Body:
    """A body of our making: a template, which as `json` is an object whose texts are templates."""

    text: Template = ""
    json: bool = False
    content_type: str = "text/plain"


@dataclass(frozen=True, slots=True)
class Override:
    """Another response in place of one whose status is among `statuses` (codes and classes such as `5xx`).

    `local`: only where Envoy itself made the response. `status` 0 and `body` None: an empty body, the status
    as it was. All headers of the response but `headers` and those of the body are dropped.
    """

    statuses: tuple[str, ...]
    local: bool = False
    body: Body | None = None
    status: int = 0
    headers: Pairs = ()


@dataclass(frozen=True, slots=True)
class Maintenance:
    """Answered instead of forwarded, unless the request has one of the headers (a value of None: whatever it
    says) or comes from one of the networks (CIDR)."""

    status: int
    body: Body
    headers: Pairs
    exempt_headers: tuple[tuple[str, str | None], ...]
    exempt_networks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Treatment:
    """Everything of one route. `body_limit`: bytes of a request's body, None: no limit; what is longer is
    answered 413. `decompression`: encodings of request bodies that are undone (gzip alone)."""

    request: HeaderChanges = HeaderChanges()
    response: HeaderChanges = HeaderChanges()
    query: QueryChanges = QueryChanges()
    compression: Compression | None = None
    decompression: tuple[Algorithm, ...] = ()
    body_limit: int | None = None
    overrides: tuple[Override, ...] = ()
    maintenance: Maintenance | None = None

    def __bool__(self) -> bool:
        return self != _NONE


_NONE: Final = Treatment()
