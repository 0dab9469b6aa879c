"""What the service asks a store, and how a bucket is called.

A store gets several `Ask`s at once (those of one request) and calls back with as many decisions, at once
where it can. It never raises: where it cannot tell, the decision is None, and `guard` makes something of it.
Keys are made here, the same for every store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from dragoman.ratelimit import rules
from dragoman.ratelimit.algorithms import Algorithm, Decision

LONGEST: Final = 160
"""Bytes of a key's readable part; what is longer is hashed."""

Done = Callable[[Sequence[Decision | None]], None]
"""Hears the decisions, in the order of the asks. Must not raise."""


class Ask:
    """Hits for one bucket. `limit` says what to do where the store fails. Asks are kept and asked again, for
    as long as the same request comes; `command` and `slot` are the Redis stores' own.
    """

    __slots__ = ("algorithm", "command", "hits", "key", "limit", "slot")

    def __init__(self, limit: rules.Limit, algorithm: Algorithm, key: bytes, hits: int) -> None:
        self.limit = limit
        self.algorithm = algorithm
        self.key = key
        self.hits = hits
        self.command = b""
        self.slot = -1


class Store(Protocol):
    """`start` may take its time and does not fail because nobody is there; `stop` drops what is under way."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def take(self, asks: Sequence[Ask], done: Done) -> None:
        """Decides. `done` is called exactly once, before `take` returns or later on the loop."""

    def healthy(self) -> bool:
        """Whether the store could answer now."""


def key(domain: str, hit: rules.Hit, position: int, code: bytes) -> bytes:
    """The name of a bucket: domain, limit and the entries that it counts by, each with its length before it,
    so that no two buckets share a name. Numbers are not in it: a limit that changes keeps its counts; the
    algorithm is, for their states do not mix. The braces are the hash tag of a Redis Cluster.
    """
    parts = [domain, hit.limit.name or str(position)]
    for each in hit.counted:
        parts += each
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    readable = b"".join(b"%d:%b," % (len(part), part) for part in encoded)
    if len(readable) > LONGEST:
        readable = hashlib.blake2b(readable, digest_size=16).hexdigest().encode()
    return b"{%b}%b" % (readable, code)
