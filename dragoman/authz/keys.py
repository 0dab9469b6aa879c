"""API keys in Redis: whose a key is, until when it holds, and how often it may be used.

Redis has hashes of keys (SHA-256, in hex), never a key:

    dragoman:key:<namespace>:{<hash>}         a hash with these fields
        id        the client's name (X-Consumer-ID); without it there is no such key
        consumer  a Consumer of the namespace, whose name, groups and plan count instead of these here;
                  without such a Consumer there is no such key
        groups    with commas between
        plan      the client's plan
        expires   seconds since 1970; without it the key holds for ever
        quota     requests in each period; without it any number
        period    seconds; 86400 without it. Periods begin at multiples of it since 1970
        disabled  1: the key is as good as not there
    dragoman:key:<namespace>:{<hash>}:used    the period's begin and count; ours, and goes by itself

One script does it all, by Redis' own clock: of two requests with one left, one passes. What is refused is not
counted. A record that names a Consumer is asked for twice: whose it is, and then with what is known of him.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any, Final, Protocol

from dragoman.authz.verdicts import UNAVAILABLE, Denial, Grant, Trouble, Verdict
from dragoman.envoy import authz
from dragoman.envoy.filters import credentials, described
from dragoman.ir import model as ir
from dragoman.redis import client, command

PREFIX: Final = "dragoman:key:"

SCRIPT: Final = command.Script("""
local now = tonumber(redis.call('TIME')[1])
local key = redis.call('HMGET', KEYS[1], 'id', 'groups', 'plan', 'expires', 'quota', 'period', 'disabled',
  'consumer')
for at = 1, 8 do key[at] = key[at] or '' end
if key[8] ~= '' then key[1] = key[8] end
if key[1] == '' or (key[7] ~= '' and key[7] ~= '0') then return {'unknown'} end
if key[4] ~= '' then
  local expires = tonumber(key[4])
  if not expires or expires ~= expires then return {'malformed'} end
  if expires <= now then return {'expired'} end
end
if key[8] ~= ARGV[3] then return {'consumer', key[8]} end
if key[8] == '' and (ARGV[1] ~= '' or ARGV[2] ~= '') then
  local known = string.find(',' .. ARGV[1] .. ',', ',' .. key[1] .. ',', 1, true) ~= nil
  for group in string.gmatch(key[2], '[^,]+') do
    group = string.match(group, '^%s*(.-)%s*$')
    known = known or (group ~= '' and string.find(',' .. ARGV[2] .. ',', ',' .. group .. ',', 1, true) ~= nil)
  end
  if not known then return {'forbidden'} end
end
if key[5] == '' then return {'passes', key[1], key[2], key[3], -1, 0, 0} end
local quota, period = tonumber(key[5]), tonumber(key[6] ~= '' and key[6] or '86400')
if not quota or not period or quota ~= math.floor(quota) or quota < 0 then return {'malformed'} end
if period ~= math.floor(period) or period < 1 or period > 31622400 then return {'malformed'} end
local begin, used = now - now % period, 0
local kept, counted = string.match(redis.call('GET', KEYS[2]) or '', '^(%d+) (%d+)$')
if kept and tonumber(kept) >= begin then begin, used = tonumber(kept), tonumber(counted) end
local left = math.max(begin + period - now, 1)
if used >= quota then return {'used', quota, left} end
local state = string.format('%.0f %.0f', begin, used + 1)
redis.call('SET', KEYS[2], state, 'EX', string.format('%.0f', left + 1))
return {'passes', key[1], key[2], key[3], quota, quota - used - 1, left}
""")

_KEY: Final = re.compile(r"[!-~]{1,1024}")
_NAME: Final = re.compile(r"[!-+\--~]{1,256}")

MISSING: Final = Denial(401, "unauthorized", "an API key is needed", "missing", "ApiKey")
_UNKNOWN: Final = Denial(401, "invalid_key", "the API key is not known", "unknown", "ApiKey")
_EXPIRED: Final = Denial(401, "key_expired", "the API key has expired", "expired", "ApiKey")
_FORBIDDEN: Final = Denial(403, "forbidden", "you may not do this", "forbidden")


Consumers = Callable[[str, str], ir.Client | None]
"""The Consumer of a namespace and name."""


class Runner(Protocol):
    """Runs a script in Redis: `redis.client.Client`."""

    async def run(self, script: command.Script, keys: list[bytes], arguments: list[bytes], /) -> Any: ...


def redis_keys(namespace: str, key: str) -> list[bytes]:
    """KEYS of the script: both in one slot."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    record = f"{PREFIX}{namespace}:{{{digest}}}".encode()
    return [record, record + b":used"]


async def find(
    runner: Runner | None, told: ir.KeyReader, key: str, consumer: Consumers = lambda _, __: None
) -> Verdict | Trouble:
    """What Redis says of a key; the request is counted if it passes."""
    if not _KEY.fullmatch(key):
        return _UNKNOWN
    if runner is None:
        return Trouble("no_store")
    names, wanted = redis_keys(told.namespace, key), [",".join(told.consumers), ",".join(told.groups)]
    known: ir.Client | None = None
    try:
        answer = await runner.run(SCRIPT, names, [*(one.encode() for one in wanted), b""])
        if isinstance(answer, list) and len(answer) == 2 and answer[0] == b"consumer":
            name = bytes(answer[1])
            known = consumer(told.namespace, name.decode(errors="replace"))
            if known is None:
                return _UNKNOWN
            if not _wanted(told, known):
                return _FORBIDDEN
            answer = await runner.run(SCRIPT, names, [b"", b"", name])
    except client.Unavailable as failure:
        return Trouble(f"redis_{failure}")
    return _read(told, answer, known)


def _wanted(told: ir.KeyReader, known: ir.Client) -> bool:
    """Whether the policy lets a Consumer in. Of other clients the script knows it."""
    if not told.consumers and not told.groups:
        return True
    return known.id in told.consumers or not {*known.groups}.isdisjoint(told.groups)


def _read(told: ir.KeyReader, answer: Any, known: ir.Client | None) -> Verdict:
    """`known`: the Consumer that the record names."""
    match answer:
        case [b"passes", bytes(name), bytes(groups), bytes(plan), int(quota), int(left), int(seconds)]:
            found = known or _client(told, name, groups, plan)
            return _passes(found, (quota, left, seconds)) if found is not None else UNAVAILABLE
        case [b"used", int(quota), int(seconds)]:
            return _used(quota, seconds)
        case [b"unknown"]:
            return _UNKNOWN
        case [b"expired"]:
            return _EXPIRED
        case [b"forbidden"]:
            return _FORBIDDEN
        case _:
            # What nobody can read lets nobody in, whatever is to be done without Redis.
            return UNAVAILABLE


def _client(told: ir.KeyReader, name: bytes, groups: bytes, plan: bytes) -> ir.Client | None:
    """As the record says; None where that can be no header."""
    listed = [part.strip() for part in groups.decode(errors="replace").split(",") if part.strip()]
    words = [name.decode(errors="replace"), *listed, *([plan.decode(errors="replace")] if plan else [])]
    if not all(_NAME.fullmatch(word) for word in words):
        return None
    return ir.Client(words[0], ir.KeySet(told.namespace), tuple(listed), words[-1] if plan else "")


def _passes(found: ir.Client, counted: tuple[int, int, int]) -> Verdict:
    header = described.client(found, "key")
    if len(header) > authz.LARGEST:
        return UNAVAILABLE
    quota, left, seconds = counted
    return Grant(((credentials.CLIENT, header),), _limits(quota, left, seconds) if quota >= 0 else ())


def _used(quota: int, seconds: int) -> Denial:
    return Denial(
        429,
        "rate_limit_exceeded",
        "Too many requests. Try again later.",
        "quota",
        headers=(("retry-after", str(seconds)), *_limits(quota, 0, seconds)),
        more=(("retryAfter", seconds), ("limit", quota)),
    )


def _limits(quota: int, left: int, seconds: int) -> tuple[tuple[str, str], ...]:
    return (
        ("x-ratelimit-limit", str(quota)),
        ("x-ratelimit-remaining", str(left)),
        ("x-ratelimit-reset", str(seconds)),
    )
