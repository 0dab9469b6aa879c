"""What is kept of a route's answers, under which key, and for whom. Part of `ir.model`, as `ir.Cache`.

Safe for authenticated users: a request with credentials is neither answered from the cache nor is its
answer kept, unless `identity` splits the key by user or `shared` says that everybody gets the same.
Translators that add authentication to a route set `authenticated`, and add the headers that carry
credentials to `credentials`: a filter before the cache may take them off the request, so what the cache
sees proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

CREDENTIALS: Final = ("authorization", "cookie")
"""The headers whose presence makes a request somebody's own."""

STATUSES: Final = frozenset((200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 451, 501))
"""The statuses of answers that can be kept."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A folder on Envoy's machine, that has to exist, and how much of it is used, in bytes."""

    directory: str = "/dev/shm"  # in memory, and there in every container
    size: int = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Cache:
    """`ttl`: seconds for which successful answers are kept whose backend says nothing about it; None: they
    are not. `statuses`: (status, seconds), before `ttl`. `respect_origin`: what the backend says of an
    answer's life comes before both; that it is private or not to be stored counts in any case.

    The key is host, path, query and the route itself, and: `headers` (lower case), whose values the backend
    may answer by; `identity`, the headers that say whose request it is; `version`, whose change empties the
    cache. `parameters`: the only query parameters of requests that are answered from the cache; None: all.
    `ignored`: query parameters that are taken off the request, so that they cannot matter.

    `largest`: an answer that says that it has more bytes is not kept.
    `status_header` tells HIT and MISS to clients; "" does not.
    """

    ttl: int | None = None
    statuses: tuple[tuple[int, int], ...] = ()
    respect_origin: bool = True
    headers: tuple[str, ...] = ()
    identity: tuple[str, ...] = ()
    parameters: tuple[str, ...] | None = None
    ignored: tuple[str, ...] = ()
    version: str = ""
    status_header: str = "x-cache"
    client_refresh: bool = False
    shared: bool = False
    authenticated: bool = False
    credentials: tuple[str, ...] = CREDENTIALS
    largest: int = 1024 * 1024
    storage: Storage = Storage()

    @property
    def usable(self) -> bool:
        """Whether anything may be kept at all: not the answers to users whom nothing tells apart."""
        return self.shared or bool(self.identity) or not self.authenticated


def parameters(names: Iterable[str]) -> str:
    """An expression (RE2) for whole paths whose query has these parameters only, in any order and number.
    Of ASCII: `[^?]` would take ten instructions instead of two."""
    known = "|".join(map(re.escape, names))
    return f"[!->@-~]*([?](({known})(=[!-%'-~]*)?(&|$))*)?" if known else "[!->@-~]*[?]?"


def varying(headers: Iterable[str]) -> str:
    """An expression (RE2) for values of `Vary` that name these headers only: letters, digits, hyphens."""
    return f"(?i)^( *({'|'.join(headers)}) *(,|$))+$"
