"""Who has which share of which limit: reports in, assignments out. No clock, no I/O.

A *holder* is one proxy's bucket; the holders of a limit are a *pool* and divide its pot (`shares`). What
holds at every moment: the grants of a pool that are in force, those of vanished proxies included until they
end, add up to the limit at most.

- A newcomer gets its share at once, and the others give it up at once; what it needs shows with its reports.
- Shares follow demand (passed and denied together), with a floor of a tenth of an equal share. They are cut
  anew only where somebody goes short and would win by it, and not more often than every `REBALANCE`: each new
  grant begins with a full bucket.
- Grants end after `TTL` and are renewed by `tick`, because Envoy's reports come too seldom for that. A bucket
  without requests is abandoned after `IDLE` (but for the guard, see `ir.quota`), one without reports after
  `SILENT` renewed no more.
- What a vanished stream had stays reserved until it ends, for its Envoy may go on with it. A new stream
  from the same host takes it over: most likely it is the same Envoy.

`service` calls this on one thread; times are seconds of any clock that does not go back.
"""

from __future__ import annotations

import enum
import heapq
import itertools
from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias

from dragoman.ir import quota
from dragoman.ratelimit import metrics, rules
from dragoman.ratelimit.rlqs import shares

TTL: Final = 20
"""Seconds; Envoy takes whole ones."""
RENEW: Final = 0.3
"""The part of it after which a grant is renewed."""
REBALANCE: Final = 8.0
IDLE: Final = 60.0
SILENT: Final = 15.0
SLACK: Final = 1.0
"""Seconds by which an Envoy may end a grant later than it ends here."""

MOST: Final = 200_000
"""Buckets of all streams together; of one stream a tenth. Further ones get no assignment."""
MOST_ENTRIES: Final = 16
LONGEST: Final = 256
"""Characters of a key or value in a bucket's name."""
AT_ONCE: Final = 100
"""Holders of a pool that is cut anew at each newcomer; a larger one is at the next tick."""

Bucket: TypeAlias = tuple[rules.Entry, ...]
"""A BucketId: its entries, sorted."""


class Rule(enum.Enum):
    """Actions that are no grant."""

    ALLOW = "allow"
    DENY = "deny"
    ABANDON = "abandon"


Action: TypeAlias = shares.Grant | Rule


class Usage(NamedTuple):
    """One bucket in a report."""

    bucket: Bucket
    allowed: int
    denied: int


class Push(NamedTuple):
    """What a stream is to be told of one of its buckets."""

    stream: int
    bucket: Bucket
    action: Action


class Holder:
    """One bucket of one stream. `demand`: requests per second, None until it is known. `names`: its limits,
    for metrics. `gone`: the stream is, what was granted may still be in force.
    """

    __slots__ = (
        "action",
        "bucket",
        "demand",
        "expires",
        "gone",
        "host",
        "names",
        "pool",
        "reported",
        "stream",
        "used",
    )

    def __init__(
        self, stream: int, host: str, bucket: Bucket, pool: Pool, names: tuple[str, ...], now: float
    ) -> None:
        self.stream, self.host, self.bucket = stream, host, bucket
        self.pool, self.names = pool, names
        self.action: Action | None = None
        self.demand: float | None = None
        self.reported = self.used = now
        self.expires = 0.0
        self.gone = False

    @property
    def units(self) -> int:
        """What it holds of its pool's pot."""
        return self.action.units if isinstance(self.action, shares.Grant) else 0


class Pool:
    """The holders of one limit, by stream and bucket; `orphans` are those that are gone, by host and bucket.
    `balanced`: when the shares were looked at last; `dirty`: they are to be cut anew.
    """

    __slots__ = ("balanced", "dirty", "holders", "key", "orphans")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.holders: dict[tuple[int, Bucket], Holder] = {}
        self.orphans: dict[tuple[str, Bucket], Holder] = {}
        self.balanced = float("-inf")
        self.dirty = False


class Key(NamedTuple):
    """Domain, by what the limits count, and how much there is; `pot` None: nothing limits these."""

    domain: str
    counted: tuple[Bucket, ...]
    pot: shares.Pot | None


class Books:
    """All streams of one service. Every method returns what is to be pushed."""

    def __init__(
        self, measures: metrics.Metrics, instances: int = 1, *, ttl: int = TTL, most: int = MOST
    ) -> None:
        self.refused = 0
        """Buckets that got no assignment because they are too many, or their names too long."""
        self._measures = measures
        self._instances = instances
        self._most = most
        self._ttl = ttl
        self._table = rules.Table()
        self._streams: dict[int, tuple[str, dict[Bucket, Holder]]] = {}
        self._pools: dict[Key, Pool] = {}
        self._number = itertools.count(1)
        self._due: list[tuple[float, int, Holder]] = []
        self._count = 0

    def __len__(self) -> int:
        """Buckets that are held, those of vanished streams included."""
        return self._count

    @property
    def streams(self) -> int:
        return len(self._streams)

    def holders(self) -> Iterable[Holder]:
        for pool in self._pools.values():
            yield from pool.holders.values()

    def open(self, host: str) -> int:
        """A stream has come; its number."""
        number = next(self._number)
        self._streams[number] = host, {}
        return number

    def close(self, stream: int) -> None:
        """A stream has gone. Its Envoy goes on with what it has until that ends."""
        host, mine = self._streams.pop(stream)
        for holder in mine.values():
            holder.gone = True
            if holder.units:
                holder.pool.orphans[host, holder.bucket] = holder
            else:
                self._forget(holder)

    def load(self, table: rules.Table, now: float) -> list[Push]:
        """Another table: whose limit is another one gets another share at once."""
        self._table = table
        everybody = list(self.holders())
        self._pools, self._count = {}, 0
        for holder in everybody:
            old = holder.pool.key
            pool, holder.names = self._pool(old.domain, holder.bucket)
            if holder.gone and pool.key != old:
                continue  # nobody is there to be told, and nothing of the new limit is theirs
            holder.pool = pool
            pool.holders[holder.stream, holder.bucket] = holder
            self._count += 1
            if holder.gone:
                pool.orphans[holder.host, holder.bucket] = holder
        out: list[Push] = []
        for pool in self._pools.values():
            self._cut(pool, now, out)
        return out

    def report(self, stream: int, domain: str, usages: Iterable[Usage], now: float) -> list[Push]:
        """What a stream has used since its last report; the first of a bucket is its subscription."""
        out: list[Push] = []
        touched: dict[Key, Pool] = {}
        host, mine = self._streams[stream]
        for usage in usages:
            holder = mine.get(usage.bucket)
            if holder is None:
                holder = self._join(stream, host, domain, usage.bucket, now, out)
                if holder is None:
                    continue
                mine[usage.bucket] = holder
            else:
                self._learn(holder, usage, now)
            for name in holder.names:
                counts = self._measures.of(name)
                counts.within += usage.allowed
                counts.over += usage.denied
            touched[holder.pool.key] = holder.pool
        for pool in touched.values():
            if pool.dirty:
                if len(pool.holders) <= AT_ONCE:
                    self._cut(pool, now, out)
            elif pool.key.pot is not None and pool.key.pot.units and now - pool.balanced >= REBALANCE:
                self._rebalance(pool, pool.key.pot, now, out)
        return out

    def tick(self, now: float) -> list[Push]:
        """Renews, abandons, forgets, and gives away what has come free. To be called about every second."""
        out: list[Push] = []
        while self._due and self._due[0][0] <= now:
            _, _, holder = heapq.heappop(self._due)
            self._look(holder, now, out)
        for pool in [each for each in self._pools.values() if each.dirty]:
            self._cut(pool, now, out)
        return out

    # One holder

    def _join(
        self, stream: int, host: str, domain: str, bucket: Bucket, now: float, out: list[Push]
    ) -> Holder | None:
        _, mine = self._streams[stream]
        if not _named(bucket) or self._count >= self._most or len(mine) >= max(self._most // 10, 1):
            self.refused += 1
            return None
        pool, names = self._pool(domain, bucket)
        holder = Holder(stream, host, bucket, pool, names, now)
        before = pool.orphans.get((host, bucket))
        pool.holders[stream, bucket] = holder
        self._count += 1
        heapq.heappush(self._due, (now + self._ttl * RENEW, next(self._number), holder))
        if before is not None:
            self._drop(before)
            holder.demand = before.demand
            self._tell(holder, before.action, now, out)
        elif pool.key.pot is None:
            self._tell(holder, Rule.ALLOW, now, out)
        else:
            pool.dirty = True
        return holder

    def _learn(self, holder: Holder, usage: Usage, now: float) -> None:
        requests = usage.allowed + usage.denied
        # Envoy's own measure is in whole seconds, cut off: 4 or 5 for its five.
        passed = now - holder.reported
        if passed >= 1.0:
            rate = requests / passed
            # Half of what it was, so that one quiet interval does not cost a proxy its share.
            holder.demand = rate if holder.demand is None else (rate + holder.demand) / 2
            holder.reported = now
        if requests:
            holder.used = now

    def _look(self, holder: Holder, now: float, out: list[Push]) -> None:
        """A holder's time has come: renewed, or given up."""
        pool = holder.pool
        if pool.holders.get((holder.stream, holder.bucket)) is not holder:
            return  # taken over, or forgotten
        if not holder.gone and now - holder.used >= IDLE and holder.bucket != quota.GUARD:
            out.append(Push(holder.stream, holder.bucket, Rule.ABANDON))
            self._forget(holder)
            return
        if holder.gone or now - holder.reported >= SILENT:
            if now >= holder.expires:
                self._forget(holder)
            else:
                heapq.heappush(self._due, (holder.expires, next(self._number), holder))
            return
        self._tell(holder, holder.action, now, out)
        heapq.heappush(self._due, (now + self._ttl * RENEW, next(self._number), holder))

    def _forget(self, holder: Holder) -> None:
        if not holder.gone:
            self._streams[holder.stream][1].pop(holder.bucket, None)
        self._drop(holder)
        if holder.pool.holders:
            holder.pool.dirty = holder.pool.key.pot is not None
        else:
            self._pools.pop(holder.pool.key, None)

    def _drop(self, holder: Holder) -> None:
        pool = holder.pool
        del pool.holders[holder.stream, holder.bucket]
        if pool.orphans.get((holder.host, holder.bucket)) is holder:
            del pool.orphans[holder.host, holder.bucket]
        self._count -= 1

    def _tell(self, holder: Holder, action: Action | None, now: float, out: list[Push]) -> None:
        holder.action = action
        if action is not None:
            holder.expires = now + self._ttl + SLACK
            out.append(Push(holder.stream, holder.bucket, action))

    # One pool

    def _pool(self, domain: str, bucket: Bucket) -> tuple[Pool, tuple[str, ...]]:
        """The pool of a bucket, and the names of its limits."""
        hits = self._table.find_unordered(domain, bucket)
        pot = shares.pot((hit.limit for hit in hits), self._instances)
        counted = tuple({tuple(sorted(hit.counted)): None for hit in hits}) if pot is not None else ()
        key = Key(domain, counted, pot)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(key)
        return pool, tuple(hit.metric for hit in hits)

    def _targets(self, pool: Pool, pot: shares.Pot) -> list[tuple[Holder, int]]:
        """What everybody would get by what is known now."""
        here = [each for each in pool.holders.values() if not each.gone]
        if not here:
            return []
        free = max(pot.units - sum(each.units for each in pool.holders.values() if each.gone), 0)
        equal = free // len(here)
        floor = pot.units / pot.seconds / len(here) / 10
        known = [(each, max(each.demand, floor)) for each in here if each.demand is not None]
        out = [(each, equal) for each in here if each.demand is None]
        if not known:
            return list(zip(here, shares.split(free, [1] * len(here)), strict=True))
        largest = max(demand for _, demand in known)
        weights = [max(int(demand / largest * 1e9), 1) for _, demand in known]
        parts = shares.split(free - equal * len(out), weights)
        return out + [(each, units) for (each, _), units in zip(known, parts, strict=True)]

    def _rebalance(self, pool: Pool, pot: shares.Pot, now: float, out: list[Push]) -> None:
        """Cuts anew if somebody goes short who would get noticeably more."""
        pool.balanced = now
        for holder, units in self._targets(pool, pot):
            short = holder.demand is not None and holder.demand * pot.seconds > holder.units
            if short and units * 9 > holder.units * 10:
                self._cut(pool, now, out)
                return

    def _cut(self, pool: Pool, now: float, out: list[Push]) -> None:
        pool.dirty = False
        pool.balanced = now
        pot = pool.key.pot
        if pot is None or not pot.units:
            rule = Rule.ALLOW if pot is None else Rule.DENY
            for holder in pool.holders.values():
                if holder.action is not rule:
                    self._tell(holder, rule, now, out)
            return
        for holder, units in self._targets(pool, pot):
            old = holder.action
            kept = isinstance(old, shares.Grant) and old.seconds == pot.seconds
            if kept and units * 9 <= holder.units * 10 <= units * 10:
                continue  # a little less than it could be: not worth a full bucket
            action: Action = shares.grant(pot, units) if units else Rule.DENY
            if action != old:
                self._tell(holder, action, now, out)


def _named(bucket: Bucket) -> bool:
    """Whether a bucket's name can be kept."""
    return 0 < len(bucket) <= MOST_ENTRIES and all(
        len(key) <= LONGEST and len(value) <= LONGEST for key, value in bucket
    )
