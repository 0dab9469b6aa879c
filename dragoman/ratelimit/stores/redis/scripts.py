"""The algorithms as Redis runs them: one script each, one key each, Redis' own clock.

A script does what the algorithm's `take` does, in the same whole numbers (`algorithms.base.tick_for` keeps
them where doubles are exact), and answers with what was counted; the algorithm's `decision` makes the rest
of it, so that Redis and memory say the same. A script writes only what has changed. Keys expire when their
state is as good as none, and `SLACK` later than that: a clock that steps (fail-over to another machine)
must not lose counts.

`Scripts.of` is an algorithm's script; `read` takes its answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, assert_never

from dragoman.ratelimit.algorithms import (
    Algorithm,
    Decision,
    FixedWindow,
    LeakyBucket,
    SlidingCounter,
    SlidingLog,
    TokenBucket,
)
from dragoman.redis import command

SLACK: Final = 1000
"""Milliseconds that a key outlives its state."""

CLOCK: Final = "local time = redis.call('TIME')\nlocal now = time[1] * 1000000 + time[2]\n"
"""The first lines of every script. Tests that must know the time put others in their place."""

# ARGV of all: hits, 1 where denied hits count, then the algorithm's numbers. Answers begin with 1 or 0 for
# allowed. Numbers are kept as `%.0f`: Lua's own form has 14 digits.
_FIXED: Final = """
local hits, denied, limit, window = tonumber(ARGV[1]), ARGV[2] == '1', tonumber(ARGV[3]), tonumber(ARGV[4])
local begin, count = now - now % window, 0
local state = redis.call('GET', KEYS[1])
if state then
  local kept, counted = string.match(state, '^(%d+) (%d+)$')
  if tonumber(kept) >= begin then begin, count = tonumber(kept), tonumber(counted) end
end
if begin > now then now = begin end
local before, allowed = count, false
if hits < 0 then
  count, allowed = math.max(count + hits, 0), true
else
  if hits > 0 then allowed = count + hits <= limit else allowed = count < limit end
  if allowed or denied then count = math.min(count + hits, math.max(2 * limit, count)) end
end
if count ~= before then
  local ttl = math.ceil((begin + window - now) / 1000) + SLACK
  redis.call('SET', KEYS[1], string.format('%.0f %.0f', begin, count), 'PX', string.format('%.0f', ttl))
end
return {allowed and 1 or 0, count, now}
"""

_COUNTER: Final = """
local hits, denied, limit = tonumber(ARGV[1]), ARGV[2] == '1', tonumber(ARGV[3])
local span, tick = tonumber(ARGV[4]), tonumber(ARGV[5])
local ticks = math.floor(now / tick)
local begin, count, last = (ticks - ticks % span) * tick, 0, 0
local state = redis.call('GET', KEYS[1])
if state then
  local kept, counted, faded = string.match(state, '^(%d+) (%d+) (%d+)$')
  kept = tonumber(kept)
  if kept >= begin then
    begin, count, last = kept, tonumber(counted), tonumber(faded)
  elseif begin - kept <= span * tick then
    last = tonumber(counted)
  end
end
local elapsed = math.max(ticks - math.floor(begin / tick), 0)
local wanted = math.max(hits, 1)
local allowed = hits < 0
  or (wanted <= limit and last * (span - elapsed) + (count + wanted) * span <= limit * span)
local changed = false
if hits < 0 then
  changed = true
  last = math.max(last + math.min(count + hits, 0), 0)
  count = math.max(count + hits, 0)
elseif hits > 0 and (allowed or denied) then
  changed = true
  count = math.min(count + hits, math.max(2 * limit, count))
end
if changed then
  local ttl = math.ceil((2 * span - elapsed) * tick / 1000) + SLACK
  local text = string.format('%.0f %.0f %.0f', begin, count, last)
  redis.call('SET', KEYS[1], text, 'PX', string.format('%.0f', ttl))
end
return {allowed and 1 or 0, elapsed, count, last}
"""

# A list: entries `moment hits`, oldest first, and behind them their sum.
_LOG: Final = """
local hits, denied, limit, window = tonumber(ARGV[1]), ARGV[2] == '1', tonumber(ARGV[3]), tonumber(ARGV[4])
local key, total, newest = KEYS[1], 0, 0
local function parse(entry)
  local moment, counted = string.match(entry, '^(%d+) (%d+)$')
  return tonumber(moment), tonumber(counted)
end
local kept = redis.call('LRANGE', key, -2, -1)
if #kept == 2 then
  total = tonumber(kept[2])
  newest = parse(kept[1])
  if newest > now then now = newest end
end
local before = total
local function oldest()
  if total <= 0 then return nil end
  return parse(redis.call('LINDEX', key, 0))
end
local moment, counted = oldest()
while moment and moment <= now - window do
  redis.call('LPOP', key)
  total = total - counted
  moment, counted = oldest()
end
local function shed(number)
  while number > 0 do
    local moment, counted = oldest()
    if counted > number then
      redis.call('LSET', key, 0, string.format('%.0f %.0f', moment, counted - number))
      total, number = total - number, 0
    else
      redis.call('LPOP', key)
      total, number = total - counted, number - counted
    end
  end
end
local most, wanted, allowed = math.max(limit, 1), math.max(hits, 1), true
if hits < 0 then
  shed(math.min(-hits, total))
else
  allowed = total + wanted <= limit
  if hits > 0 and (allowed or denied) then
    local number = math.min(hits, most)
    if #kept == 2 then redis.call('RPOP', key) end
    redis.call('RPUSH', key, string.format('%.0f %.0f', now, number), '0')
    kept, newest, total = {'', ''}, now, total + number
    shed(math.max(total - most, 0))
    before = -1
  end
end
if total == 0 then
  redis.call('DEL', key)
  newest = 0
elseif total ~= before then
  redis.call('LSET', key, -1, string.format('%.0f', total))
  redis.call('PEXPIRE', key, string.format('%.0f', math.ceil((newest + window - now) / 1000) + SLACK))
end
local leaving = 0
if not allowed and wanted <= limit then
  local excess, at, step = total + wanted - limit, 0, 1
  while excess > 0 do
    local entries = redis.call('LRANGE', key, at, at + step - 1)
    if #entries == 0 then break end
    for _, entry in ipairs(entries) do
      local moment, counted = parse(entry)
      excess = excess - counted
      if excess <= 0 then leaving = moment break end
    end
    at, step = at + step, 100
  end
end
return {allowed and 1 or 0, total, newest, leaving, now}
"""

_METER: Final = """
local hits, denied, capacity = tonumber(ARGV[1]), ARGV[2] == '1', tonumber(ARGV[3])
local hit, leak, tick = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local full, level = capacity * hit, 0
now = now - now % tick
local state = redis.call('GET', KEYS[1])
if state then
  local kept, moment, unit = string.match(state, '^(%d+) (%d+) (%d+)$')
  level, moment, unit = tonumber(kept), tonumber(moment), tonumber(unit)
  if unit ~= hit then level = math.ceil(level * hit / unit) end
  if now > moment then
    level = math.max(level - (math.floor(now / tick) - math.floor(moment / tick)) * leak, 0)
  else
    now = moment
  end
end
local before, allowed = level, true
if hits < 0 then
  level = math.max(level + hits * hit, 0)
else
  allowed = hits <= capacity and level + math.max(hits, 1) * hit <= full
  if allowed or denied then
    level = math.min(level + math.min(hits, 2 * capacity) * hit, math.max(2 * full, level))
  end
end
if level == 0 then
  if state then redis.call('DEL', KEYS[1]) end
elseif level ~= before then
  local ttl = math.ceil((math.ceil(level / leak) + 1) * tick / 1000) + SLACK
  local text = string.format('%.0f %.0f %.0f', level, now, hit)
  redis.call('SET', KEYS[1], text, 'PX', string.format('%.0f', ttl))
end
return {allowed and 1 or 0, level}
"""


def _script(body: str, clock: str) -> command.Script:
    return command.Script(clock + body.strip().replace("SLACK", str(SLACK)))


class Scripts:
    """All scripts, with one clock."""

    def __init__(self, clock: str = CLOCK) -> None:
        self.fixed = _script(_FIXED, clock)
        self.counter = _script(_COUNTER, clock)
        self.log = _script(_LOG, clock)
        self.meter = _script(_METER, clock)

    def __iter__(self) -> Iterator[command.Script]:
        return iter((self.fixed, self.counter, self.log, self.meter))

    def of(self, algorithm: Algorithm) -> command.Script:
        match algorithm:
            case FixedWindow():
                return self.fixed
            case SlidingCounter():
                return self.counter
            case SlidingLog():
                return self.log
            case TokenBucket() | LeakyBucket():
                return self.meter
            case _:
                assert_never(algorithm)


def arguments(algorithm: Algorithm, hits: int) -> list[bytes]:
    """ARGV of the algorithm's script."""
    numbers: tuple[int, ...]
    match algorithm:
        case FixedWindow() | SlidingLog():
            numbers = (algorithm.limit, algorithm.window)
        case SlidingCounter():
            numbers = (algorithm.limit, algorithm.span, algorithm.tick)
        case TokenBucket() | LeakyBucket():
            gauge = algorithm.gauge
            numbers = (algorithm.capacity, gauge.hit, gauge.leak, gauge.tick)
        case _:
            assert_never(algorithm)
    return [b"%d" % number for number in (hits, algorithm.count_denied, *numbers)]


def read(algorithm: Algorithm, hits: int, answer: Sequence[int]) -> Decision:
    """The decision in a script's answer."""
    allowed = answer[0] == 1
    match algorithm:
        case FixedWindow():
            return algorithm.decision(answer[1], answer[2], hits, allowed)
        case SlidingCounter():
            return algorithm.decision(answer[1], answer[2], answer[3], hits, allowed)
        case SlidingLog():
            _, total, newest, leaving, now = answer
            return algorithm.decision(total, newest or now - algorithm.window, leaving, now, hits, allowed)
        case TokenBucket() | LeakyBucket():
            return algorithm.decision(answer[1], hits, allowed)
        case _:
            assert_never(algorithm)
