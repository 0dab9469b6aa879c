"""The numbers of a limit as people write them, beside requests and unit: algorithm, burst, delay and so on.

What the Go service's files do not have and ours may. Called by `goconfig`; the words are those of
RateLimitPolicy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dragoman.ratelimit import rules
from dragoman.ratelimit.algorithms import (
    Algorithm,
    FixedWindow,
    LeakyBucket,
    SlidingCounter,
    SlidingLog,
    TokenBucket,
)
from dragoman.ratelimit.algorithms.sliding_log import LARGEST

ALGORITHMS: Final[dict[str, type[Algorithm]]] = {
    each.name: each for each in (FixedWindow, SlidingCounter, SlidingLog, TokenBucket, LeakyBucket)
}

KEYS: Final = frozenset({"algorithm", "burst", "delay", "nodelay", "count_denied", "cost", "on_error"})

_BELONGS: Final[Mapping[str, tuple[type[Algorithm], ...]]] = {
    "burst": (TokenBucket, LeakyBucket),
    "delay": (LeakyBucket,),
    "nodelay": (LeakyBucket,),
}

_UINT32: Final = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with the value of `key`."""

    code: str
    key: str
    message: str
    help: str = ""


@dataclass(frozen=True, slots=True)
class Numbers:
    algorithm: Algorithm
    cost: int
    on_error: rules.OnError


def read(
    data: Mapping[str, Any], limit: int, window: int, on_error: rules.OnError = rules.OnError.OPEN
) -> Numbers | Wrong:
    """`limit` hits per `window` microseconds, counted as `data` says. Without an algorithm it counts as the
    Go service does. `on_error`: where `data` says nothing of that.
    """
    name = data.get("algorithm", FixedWindow.name)
    kind = ALGORITHMS.get(name) if isinstance(name, str) else None
    if kind is None:
        return Wrong(
            "DRG1106", "algorithm", f"there is no algorithm `{name}`", f"there are {', '.join(ALGORITHMS)}"
        )
    for key, kinds in _BELONGS.items():
        if data.get(key) is not None and kind not in kinds:
            of = " and ".join(f"`{each.name}`" for each in kinds)
            return Wrong("DRG1108", key, f"`{key}` is for {of}, not for `{kind.name}`")
    values: dict[str, int] = {}
    for key, default, least in (("burst", 0, 0), ("delay", 0, 0), ("cost", 1, 1)):
        value = data.get(key)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int):
            return Wrong("DRG1103", key, f"`{key}` is a whole number")
        if not least <= value <= _UINT32 // 2:
            return Wrong("DRG1104", key, f"`{key}` is out of range", f"expected {least} to {_UINT32 // 2}")
        values[key] = value
    flags: dict[str, bool] = {}
    for key, off in (("nodelay", False), ("count_denied", kind is FixedWindow and "algorithm" not in data)):
        flag = data.get(key)
        flag = off if flag is None else flag
        if not isinstance(flag, bool):
            return Wrong("DRG1103", key, f"`{key}` is true or false")
        flags[key] = flag
    mode = data.get("on_error")
    mode = on_error.value if mode is None else mode
    modes = {each.value: each for each in rules.OnError}
    if not isinstance(mode, str) or mode not in modes:
        return Wrong("DRG1106", "on_error", f"there is no mode `{mode}`", f"there are {', '.join(modes)}")
    if kind is SlidingLog and limit > LARGEST:
        return Wrong(
            "DRG1104",
            "requests_per_unit",
            f"a sliding log remembers at most {LARGEST} hits",
            "`sliding_counter` takes any number",
        )
    denied = flags["count_denied"]
    algorithm: Algorithm
    try:
        if kind is TokenBucket:
            algorithm = TokenBucket(limit, window, values["burst"], denied)
        elif kind is LeakyBucket:
            algorithm = LeakyBucket(limit, window, values["burst"], values["delay"], flags["nodelay"], denied)
        else:
            algorithm = kind(limit, window, denied)
    except ValueError as failure:  # so many hits in so much time are beyond exact arithmetic
        return Wrong("DRG1104", "unit_multiplier", str(failure))
    return Numbers(algorithm, values["cost"], modes[mode])
