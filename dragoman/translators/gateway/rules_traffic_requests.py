"""Rules of a TrafficPolicy about requests that a type cannot say: values that Envoy would refuse, and fields
that contradict each other within one object. What only shows where policies are merged is in `policies/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dragoman.diagnostics import Diagnostic, error
from dragoman.refs import Origin, Ref
from dragoman.translators.gateway import templates
from dragoman.translators.gateway.models import traffic_failures, traffic_requests, trafficpolicy


def check(ref: Ref, spec: trafficpolicy.TrafficPolicy) -> Iterator[Diagnostic]:
    """The sections about requests."""
    where = Origin(ref, ("spec",))
    if spec.retries is not None:
        yield from _retries(where.at("retries"), spec.retries)
    if spec.fallback is not None:
        yield from _fallback(where.at("fallback"), spec.fallback)
    if spec.faults is not None:
        yield from _faults(where.at("faults"), spec.faults)


def _retries(where: Origin, given: traffic_requests.Retries) -> Iterator[Diagnostic]:
    pauses = given.back_off
    if pauses is not None:
        here = where.at("backOff")
        for name, value in (("base", pauses.base), ("max", pauses.max)):
            if value == 0:
                yield error("DRG1104", f"`{name}` is zero", here.at(name), label="expected 1ms or more")
        if pauses.base and pauses.max and pauses.max < pauses.base:
            yield error("DRG1108", "`max` is less than `base`", here.at("max"))
    if given.retry_after is not None and given.retry_after.max is not None and given.retry_after.max < 1:
        label = "expected 1s or more; `disabled: true` switches waiting off"
        yield error("DRG1104", "`max` is less than a second", where.at("retryAfter", "max"), label=label)
    for at, header in enumerate(given.response_headers or ()):
        yield from _plain_header(where.at("responseHeaders", at, "name"), header.name)
    if given.methods and "*" in given.methods and len(given.methods) > 1:
        yield error("DRG1108", "`*` stands for all methods, so it stands alone", where.at("methods"))


def _plain_header(where: Origin, name: str) -> Iterator[Diagnostic]:
    if name.lower() == "host":
        yield error("DRG1106", "`Host` is no header here", where)


def _fallback(where: Origin, given: traffic_failures.Fallback) -> Iterator[Diagnostic]:
    if given.backend_ref is not None and given.backend_ref.kind == "Service" and not given.backend_ref.port:
        label = "`port` goes here"
        yield error("DRG1102", "the port of the Service is missing", where.at("backendRef"), label=label)
    response = given.response
    if response is None:
        return
    here = where.at("response")
    if response.json is not None and response.text is not None:
        yield error("DRG1108", "a response has one body: `json` or `text`", here.at("text"))
    for at, header in enumerate(response.headers):
        name = header.name.lower()
        if name in ("host", "content-length", "transfer-encoding", "connection"):
            yield error("DRG1106", f"`{header.name}` cannot be set", here.at("headers", at, "name"))
        yield from _format(here.at("headers", at, "value"), header.value)
    names = [header.name.lower() for header in response.headers]
    for at, name in enumerate(names):
        if name in names[:at]:
            yield error("DRG1108", f"header `{name}` stands twice", here.at("headers", at, "name"))
    if response.text is not None:
        yield from _format(here.at("text"), response.text)
    if response.json is not None:
        yield from _json(here.at("json"), response.json)


def _json(where: Origin, value: Any) -> Iterator[Diagnostic]:
    """Format commands stand in any text of it, however deep."""
    match value:
        case str():
            yield from _format(where, value)
        case dict():
            for key, item in value.items():
                if not isinstance(key, str):
                    yield error("DRG1103", f"the key `{key}` is not text", where, help="quote it")
                else:
                    yield from _json(where.at(key), item)
        case list() | tuple():
            for at, item in enumerate(value):
                yield from _json(where.at(at), item)
        case None | bool() | int() | float():
            return
        case _:
            kind = type(value).__name__
            yield error("DRG1103", f"a {kind} has no place in JSON", where, help="quote it")


def _format(where: Origin, text: str) -> Iterator[Diagnostic]:
    """There is no response of which it could say anything: that is why it falls back."""
    wrong, hint = templates.flaw(text, response=False)
    if wrong:
        yield error("DRG1110", "the value is not one that Envoy can fill in", where, label=wrong, help=hint)


def _faults(where: Origin, given: traffic_failures.Faults) -> Iterator[Diagnostic]:
    delay, abort = given.delay, given.abort
    if delay is not None:
        here = where.at("delay")
        if (delay.fixed is None) == (not delay.by_header):
            yield error("DRG1108", "exactly one of `fixed` and `byHeader` says how long", here)
        if delay.fixed == 0:
            yield error("DRG1104", "`fixed` is zero", here.at("fixed"), label="expected 1ms or more")
    if abort is not None:
        ways = [abort.http_status is not None, abort.grpc_status is not None, bool(abort.by_header)]
        if sum(ways) != 1:
            message = "exactly one of `httpStatus`, `grpcStatus` and `byHeader` says which error"
            yield error("DRG1108", message, where.at("abort"))
    for at, header in enumerate(given.headers or ()):
        yield from _plain_header(where.at("headers", at, "name"), header.name)
