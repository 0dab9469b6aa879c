"""Which rate limits a request hits, and with which key. Called by `request`.

Where a part of the key is not known here (the client's address, who the client is), words stand for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from dragoman.ir import model as ir, ratelimit
from dragoman.ir.match import Compile
from dragoman.ir.request import Prepared, Request

Data = dict[str, Any]

_BY: Final = {
    ratelimit.Where.LOCAL.value: "Envoy",
    ratelimit.Where.GLOBAL.value: "the service",
    ratelimit.Where.QUOTA.value: "Envoy, as the service assigns",
}
_FAILURES: Final = {
    ratelimit.Failure.CLOSED.value: "; 503 when nobody can count",
    ratelimit.Failure.LOCAL.value: "; counted by each service when Redis is away",
}
_NAMES: Final = {
    1.0: "second",
    60.0: "minute",
    3600.0: "hour",
    86_400.0: "day",
    604_800.0: "week",
    2_592_000.0: "month",
}


def found(route: ir.Route, request: Request, prepared: Prepared, compile: Compile) -> Iterator[Data]:
    """Every limit of the route: whether the request hits it, and what it counts by."""
    for limit in route.limits:
        misses = [one for one in limit.when if not _holds(one, request, prepared, compile)]
        key = {_name(part): _value(part, request, prepared) for part in limit.key}
        if limit.place:
            key = {limit.sharing.value.lower(): limit.place, **key}
        data: Data = {
            "name": limit.name,
            "amount": limit.amount,
            "window": limit.window,
            "algorithm": limit.counting.value,
            "where": limit.where.value,
            "shadow": limit.shadow,
            "hit": not misses,
            "key": key,
        }
        if limit.failure is not ratelimit.Failure.OPEN:
            data["failure"] = limit.failure.value
        if limit.status:
            data["status"] = limit.status
        if limit.cost is not None:
            data["cost"] = {
                "from": limit.cost.header or ".".join(limit.cost.path),
                "of": "response" if limit.cost.response else "request",
            }
        if limit.plans:
            data["plans"] = [
                {"name": plan.name, "amount": plan.amount, "window": plan.window} for plan in limit.plans
            ]
        if misses:
            data["reason"] = _reason(misses[0])
        yield data


def lines(data: Mapping[str, Any]) -> Iterator[str]:
    """As lines of an explanation."""
    for one in data.get("limits", ()):
        what = f"{one['name']}: {one['amount']} per {_window(one['window'])}"
        if not one["hit"]:
            yield f"  no limit      {what}, {one['reason']}"
            continue
        by = _BY[one["where"]]
        key = ", ".join(f"{name}: {value}" for name, value in one["key"].items()) or "one count for all"
        plans = "".join(f"; plan {_plan(plan)}" for plan in one.get("plans", ()))
        denial = f", denies with {one['status']}" if "status" in one else ""
        denial = ", denies nothing" if one["shadow"] else denial
        cost = f"; costs the {one['cost']['of']}'s {one['cost']['from']}" if "cost" in one else ""
        failure = _FAILURES.get(one.get("failure", ""), "")
        yield f"  limit         {what} ({one['algorithm']} by {by}{denial}), {key}{cost}{failure}{plans}"


def _plan(plan: Data) -> str:
    if plan["amount"] is None:
        return f"{plan['name']}: no limit"
    return f"{plan['name']}: {plan['amount']} per {_window(plan['window'])}"


def _holds(condition: ratelimit.Condition, request: Request, prepared: Prepared, compile: Compile) -> bool:
    value = _header(condition.header, request, prepared)
    if condition.value is None:
        met = value is not None
    elif condition.regex:
        met = value is not None and compile(condition.value).fullmatch(value) is not None
    else:
        met = value == condition.value
    return met != condition.invert


def _header(name: str, request: Request, prepared: Prepared) -> str | None:
    match name:
        case ":method":
            return request.method
        case ":path":
            return prepared.target
        case ":authority":
            return prepared.authority
        case _:
            values = prepared.headers.get(name, ())
            return ",".join(values) if values else None


def _name(part: ratelimit.KeyPart) -> str:
    return (
        "client" if part.part is ratelimit.Part.ADDRESS else f"{part.part.value.lower()} {part.name}".strip()
    )


def _value(part: ratelimit.KeyPart, request: Request, prepared: Prepared) -> str:
    found: str | None
    match part.part:
        case ratelimit.Part.ADDRESS:
            return f"its address's /{part.bits4} or /{part.bits6}"
        case ratelimit.Part.CLAIM:
            return "the token's"
        case ratelimit.Part.CONSUMER:
            return "who it is"
        case ratelimit.Part.PLAN | ratelimit.Part.API_KEY:
            return "its own"
        case ratelimit.Part.PATH:
            return prepared.path
        case ratelimit.Part.METHOD:
            return request.method
        case ratelimit.Part.HOST:
            return prepared.authority
        case ratelimit.Part.QUERY:
            found = prepared.parameter(part.name)
        case ratelimit.Part.COOKIE:
            found = _cookie(part.name, prepared)
        case ratelimit.Part.HEADER:
            found = _header(part.name, request, prepared)
    return found or "(of all who have none)"


def _cookie(name: str, prepared: Prepared) -> str | None:
    for value in prepared.headers.get("cookie", ()):
        for pair in value.split(";"):
            key, _, text = pair.strip().partition("=")
            if key == name:
                return text
    return None


def _reason(condition: ratelimit.Condition) -> str:
    wanted = "there" if condition.value is None else f"`{condition.value}`"
    return f"since {condition.header} is {'' if condition.invert else 'not '}{wanted}"


def _window(seconds: float) -> str:
    return _NAMES.get(seconds, f"{seconds:g} s")
