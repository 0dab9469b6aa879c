"""Rules of Rollout that span several fields, and those that a pattern does not say."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dragoman.diagnostics import Diagnostic, error
from dragoman.refs import Origin, Ref
from dragoman.translators.gateway import matching
from dragoman.translators.gateway.models import meta, rollout as model


def check(ref: Ref, spec: model.Rollout) -> Iterator[Diagnostic]:
    """Two backends, testers who can be told apart, checks that say what is good."""
    origin = Origin(ref, ("spec",))
    if spec.target_ref.group != meta.GATEWAY_GROUP:
        where = origin.at("targetRef", "group")
        yield error("DRG2005", "a Rollout is for a route", where, label=f"expected {meta.GATEWAY_GROUP}")
    if spec.stable == spec.canary:
        yield error("DRG1108", "`stable` and `canary` are the same backend", origin.at("canary"))
    for at, tester in enumerate(spec.testers):
        yield from _tester(origin.at("testers", at), tester)
    names: set[str] = set()
    for at, one in enumerate(spec.checks):
        yield from _check(origin.at("checks", at), one)
        if one.name and one.name in names:
            yield error("DRG1108", f"two checks are named `{one.name}`", origin.at("checks", at, "name"))
        names.add(one.name)


def _tester(here: Origin, tester: model.Tester) -> Iterator[Diagnostic]:
    if not tester.headers and not tester.cookies:
        message = "a tester without headers and cookies would be everybody"
        yield error("DRG1102", message, here, label="`headers` or `cookies` goes here")
    flaw = matching.headers(tester.headers, here.at("headers"))
    if isinstance(flaw, Diagnostic):
        yield flaw
    seen: set[str] = set()
    for at, cookie in enumerate(tester.cookies):
        if cookie.name in seen:
            message = f"the cookie `{cookie.name}` stands here for the second time"
            yield error("DRG1108", message, here.at("cookies", at, "name"))
        seen.add(cookie.name)
    named = any(header.name.lower() == "cookie" for header in tester.headers)
    if named and tester.cookies:
        message = "the header `cookie` and `cookies` exclude each other"
        yield error("DRG1108", message, here.at("cookies"))
    for at, cookie in enumerate(tester.cookies):
        flaw_of = matching.flaw_of(cookie_pattern(cookie))
        if flaw_of:
            yield matching.bad(cookie.value, flaw_of, here.at("cookies", at, "value"))


def cookie_pattern(cookie: model.Cookie) -> str:
    """RE2 for a whole Cookie header with this cookie in it."""
    return rf"(?:.*;\s*)?{re.escape(cookie.name)}={re.escape(cookie.value)}(?:\s*;.*)?"


def _check(here: Origin, one: model.Check) -> Iterator[Diagnostic]:
    reported = one.success_rate is not None or one.latency is not None
    if one.prometheus is not None and reported:
        message = "a check asks Prometheus or Envoy, not both"
        yield error("DRG1108", message, here.at("prometheus"), help="make two checks of it")
    if one.prometheus is None and not reported:
        label = "one of `successRate`, `latency` and `prometheus` goes here"
        yield error("DRG1102", "the check looks at nothing", here, label=label)
    if one.prometheus is not None:
        yield from _bounds(here, one.prometheus)
        if one.min_requests is not None:
            message = "`minRequests` counts what Envoy reports; a query counts for itself"
            yield error("DRG1108", message, here.at("minRequests"))
    if one.interval < 1.0:
        where = here.at("interval")
        yield error("DRG1104", "`interval` is out of range", where, label="expected 1s at least")
    if one.latency is not None and not one.latency.max:
        where = here.at("latency", "max")
        yield error("DRG1104", "`max` is out of range", where, label="expected more than 0s")


def _bounds(here: Origin, query: model.Prometheus) -> Iterator[Diagnostic]:
    if "@" in query.address:
        # Not quoted: what stands there is a secret.
        yield error(
            "DRG1103",
            "the address has credentials in it",
            here.at("prometheus", "address"),
            label="expected an address without `user:password@`",
            help="let a proxy add them, and name the proxy here",
        )
    if query.min is None and query.max is None:
        label = "`min` or `max` goes here"
        yield error("DRG1102", "nothing says which numbers are good", here.at("prometheus"), label=label)
    elif query.min is not None and query.max is not None and query.min > query.max:
        yield error("DRG1108", "`min` is greater than `max`", here.at("prometheus", "min"))
