"""HTTPPolicy's `cache` -> `ir.Cache`. Called by `http.apply`, for each route under a policy that says it.

What cannot be meant is reported at the field that says it, and then nothing is cached: an answer that goes
to the backend once too often hurts nobody.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from dragoman.diagnostics import Diagnostic, Severity, error, warning
from dragoman.ir import cache as kept, model as ir
from dragoman.refs import Origin
from dragoman.translators.gateway import matching
from dragoman.translators.gateway.models import httppolicy_cache as shapes

Where = Callable[..., Origin | None]
"""Where a field below `cache` was said (`Merged.origin`)."""

_DEFAULT = ir.Cache()


def cache(
    route: ir.Route, spec: shapes.Cache, origin: Where
) -> tuple[ir.Cache | None, tuple[Diagnostic, ...]]:
    """The cache of a route, and what is wrong with it."""
    if spec.disabled or not isinstance(route.action, ir.Forward):
        return None, ()
    findings = tuple(_findings(route, spec, origin))
    if any(one.severity is Severity.ERROR for one in findings) or route.match.share:
        return None, findings
    key = spec.key_by or shapes.KeyBy()
    place = spec.storage or shapes.Storage()
    usual = _DEFAULT.storage
    return ir.Cache(
        ttl=None if spec.ttl is None else math.ceil(spec.ttl),
        statuses=tuple(
            (status, math.ceil(each.ttl)) for each in spec.ttl_by_status or () for status in each.statuses
        ),
        respect_origin=spec.respect_origin is not False,
        headers=_lower(key.headers),
        identity=_lower(key.identity_headers),
        parameters=key.query_parameters,
        ignored=key.ignored_query_parameters or (),
        version=spec.version or "",
        status_header=_DEFAULT.status_header if spec.status_header is None else spec.status_header.lower(),
        client_refresh=bool(spec.client_refresh),
        shared=bool(spec.shared),
        largest=spec.max_body_bytes or _DEFAULT.largest,
        storage=ir.Storage(place.directory or usual.directory, place.size or usual.size),
    ), findings


def _expressions(key: shapes.KeyBy) -> Iterator[tuple[str, str, str]]:
    """What is made of names for Envoy: what they are, where they were said, the expression."""
    headers = (*(key.headers or ()), *(key.identity_headers or ()))
    if headers:
        yield "headers", "headers" if key.headers else "identityHeaders", kept.varying(headers)
    if key.query_parameters is not None:
        names = (*key.query_parameters, *(key.ignored_query_parameters or ()))
        yield "query parameters", "queryParameters", kept.parameters(names)


def _lower(names: tuple[str, ...] | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.lower() for name in names or ()))


def _findings(route: ir.Route, spec: shapes.Cache, origin: Where) -> Iterator[Diagnostic]:
    key = spec.key_by or shapes.KeyBy()
    for field, names in (("identityHeaders", key.identity_headers), ("headers", key.headers)):
        for at, name in enumerate(names or ()):
            place = origin("keyBy", field, at)
            if name.lower() in kept.CREDENTIALS and place is not None:
                yield error(
                    "DRG1106",
                    f"`{name}` carries credentials, and keys are written to files: nothing is cached",
                    place,
                    help="name a header that says who it is, not the proof of it",
                )
            elif name.lower() == "host" and place is not None:
                message = "`host` is part of every key as it is: nothing is cached"
                yield error("DRG1108", message, place, help="leave it out")
    place = origin("shared")
    if spec.shared and key.identity_headers and place is not None:
        message = "answers are either shared or split by identity: nothing is cached"
        yield error("DRG1108", message, place, help="leave out one of `shared` and `keyBy.identityHeaders`")
    for what, field, pattern in _expressions(key):
        place, flaw = origin("keyBy", field) or origin("keyBy"), matching.flaw_of(pattern)
        if flaw and place is not None:
            message = f"these are too many {what}, or their names too long: nothing is cached"
            yield error("DRG1104", message, place, label=flaw)
    for at, each in enumerate(spec.ttl_by_status or ()):
        for index, status in enumerate(each.statuses):
            place = origin("ttlByStatus", at, "statuses", index)
            if status not in kept.STATUSES and place is not None:
                known = ", ".join(map(str, sorted(kept.STATUSES)))
                message = f"Envoy keeps no answers with status {status}"
                yield warning("DRG3001", message, place, help=f"it keeps {known}")
    place = origin()
    if route.match.share and place is not None:
        message = f"{route.name} is not cached: one of its backends has filters of its own"
        yield warning("DRG3001", message, place, help="put the filters on the rule")
