"""An explanation's data as lines of text, without colour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from dragoman.explain import access, limits, treatment

Data = Mapping[str, Any]

_SHOWN = 20
"""So many losers are listed; the rest is counted."""


def lines(data: Data) -> Iterator[str]:
    """From the request down to the endpoints; what was not reached is left out."""
    yield data["request"]
    for note in data["notes"]:
        yield f"  note: {note}"
    if "listener" in data:
        yield from _listener(data["listener"])
    if "virtual_host" in data:
        host = data["virtual_host"]
        passed = f" (before {', '.join(host['passed'])})" if host["passed"] else ""
        yield f"  virtual host  {host['domain']}{passed}"
        yield from _candidates(data["candidates"])
    if "route" in data:
        yield f"  route         {data['route']['name']}{_from(data['route'])}"
    if "case" in data:
        yield f"  case          the token says {data['case']['words']}{_from(data['case'])}"
    yield f"  outcome       {_outcome(data)}"
    match data.get("action", {}).get("kind"):
        case "forward":
            yield from _forward(data)
        case "stream":
            yield from _backends(data["action"]["clusters"])
        case _:
            pass
    for name, title in (("request_headers", "request"), ("response_headers", "response")):
        if name in data:
            yield f"  {title:<12}  {mutation(data[name])}"
    if "treatment" in data:
        yield from treatment.lines(data["treatment"])
    yield from access.lines(data)
    yield from limits.lines(data)
    yield from _policies(data, "  policies      ")
    if "cors" in data:
        allowed = (*data["cors"]["allow_origins"], *data["cors"].get("patterns", ()))
        yield f"  cors          allows {', '.join(allowed) or 'nobody'}"


def mutation(change: Data) -> str:
    """A header mutation's data on one line: `set x-a: 1; add x-b: 2; remove x-c`."""
    parts = [f"{verb} {name}: {value}" for verb in ("set", "add") for name, value in change.get(verb, ())]
    parts += [f"remove {name}" for name in change.get("remove", ())]
    return "; ".join(parts)


def _listener(listener: Data) -> Iterator[str]:
    name = f" for {listener['server_name']}" if "server_name" in listener else ""
    sources = listener.get("from", ())
    yield f"  listener      {listener['name']}{name}{_from(sources[0]) if sources else ''}"
    for source in sources[1:]:
        yield f"                and{_from(source)}"


def _from(data: Data) -> str:
    if "object" not in data:
        return ""
    where = f", {data['place']}" if "place" in data else ""
    return f"  ({data['object']} {data['field']}{where})"


def _candidates(candidates: Sequence[Data]) -> Iterator[str]:
    if not candidates:
        yield "  candidates    none"
        return
    yield "  candidates"
    won = next((number for number, each in enumerate(candidates) if each["won"]), len(candidates))
    first = max(0, won - _SHOWN)
    if first:
        yield f"    ... {first} more before"
    for each in candidates[first : won + _SHOWN]:
        yield f"    {'=>' if each['won'] else ' -'} {each['route']}  {each['match']}"
        if not each["won"]:
            yield f"         {each['reason']}"
    left = len(candidates) - won - _SHOWN
    if left > 0:
        yield f"    ... {left} more behind"


def _outcome(data: Data) -> str:
    action = data.get("action", {})
    asked = data.get("access", {})
    if data.get("preflight"):
        allowed = "is" if data["origin_allowed"] else "is not"
        return f"{data['status']} from Envoy: a CORS preflight, whose origin {allowed} allowed"
    if asked.get("verdict") == access.REFUSED:
        return f"{asked['status']} from Envoy: {asked['why']}"
    match action.get("kind"):
        case "redirect":
            return f"{action['status']} to {action['location']}"
        case "respond":
            return f"{action['status']} from Envoy"
        case "stream" if any(each["name"] for each in action["clusters"]):
            return f"passed on by {action['route']}, not looked into"
        case "stream":
            return "closed at once: no route says where it goes, or none of its backends is valid"
        case "forward" if data["status"] is None:
            return "forwarded"
        case "forward" if all(each["name"] is None for each in action["clusters"] if each["weight"]):
            return f"{data['status']} from Envoy: no valid backend has a weight"
        case "forward":
            return f"{data['status']} from Envoy: no backend has a ready endpoint"
        case _ if data["status"]:
            return f"{data['status']} from Envoy: {data['outcome']}"
        case _:
            return f"no answer: {data['outcome']}"


_TIMES: Final = (
    ("timeout", "timeout"),
    ("try_timeout", "per try"),
    ("try_idle", "per try idle"),
    ("stream_idle", "stream idle"),
    ("duration", "whole stream"),
)


def _forward(data: Data) -> Iterator[str]:
    action = data["action"]
    yield f"  as            {action['path']} for {action['host']}"
    for number, case in enumerate(action.get("cases", ())):
        yield f"  {'if' if not number else 'else if':<12}  the token says {case['words']}{_from(case)}"
        yield from _backends(case["clusters"])
    if "cases" in action:
        yield "  else"
    yield from _backends(action["clusters"])
    for each in action.get("mirrors", ()):
        yield f"  mirror        {each['percent']:g}% {each['name']}"
    for name, title in _TIMES:
        if name in action:
            yield f"  {title:<12}  {f'{action[name]:g} s' if action[name] else 'none'}"
    if "retry" in action:
        yield f"  retry         {_retry(action['retry'])}"
    yield from _failures(action)
    if "session" in action:
        yield f"  session       by {action['session']['kind'].lower()} {action['session']['name']}"


def _retry(data: Data) -> str:
    wanted = ", ".join([*data.get("conditions", ()), *map(str, data.get("codes", ()))])
    methods = f", {', '.join(data['methods'])}" if "methods" in data else ""
    return f"{data.get('attempts', 1)} times{f' on {wanted}' if wanted else ''}{methods}"


def _failures(action: Data) -> Iterator[str]:
    """What is done where the backend gives no response, and failures on purpose."""
    instead = action.get("fallback", {})
    also = f" (also for {', '.join(map(str, instead['codes']))})" if "codes" in instead else ""
    if "cluster" in instead:
        yield f"  fallback      {instead['cluster']}{also}"
    if "answer" in instead:
        yield f"  fallback      {instead['answer'].get('status', 503)} from Envoy{also}"
    for name, fault in action.get("faults", {}).items():
        if name != "headers":
            some = "some of these" if "headers" in action["faults"] else "the requests"
            yield f"  fault         {name} for {fault['share'] / 10_000:g}% of {some}"


def _backends(clusters: Sequence[Data]) -> Iterator[str]:
    for each in clusters:
        yield f"  backend       {each['percent']:g}% {_share(each)}{_from(each)}"
        for name, title in (("request_headers", "request"), ("response_headers", "response")):
            if name in each:
                yield f"                  {title}: {mutation(each[name])}"
        yield from _policies(each, " " * 18)


def _policies(data: Data, title: str) -> Iterator[str]:
    """What policies say, and which."""
    for number, each in enumerate(data.get("policies", ())):
        yield f"{title if not number else ' ' * len(title)}{each['name']}: {each['value']}{_from(each)}"


def _share(share: Data) -> str:
    if share["name"] is None:
        fate = f"answered with {share['status']}" if "status" in share else "closed"
        return f"{fate}: {share['reason']}"
    endpoints = share["endpoints"]
    if endpoints.get("by") == "dns":
        return f"{share['name']}  {', '.join(endpoints['addresses'])} (resolved by Envoy)"
    return f"{share['name']}  {endpoints['ready']} of {endpoints['total']} endpoints ready"
