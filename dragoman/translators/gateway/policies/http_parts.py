"""Sections of an HTTPPolicy -> values of the IR. A part of `http`, without any state."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Final

from dragoman.ir import model as ir, treatment
from dragoman.translators.gateway.models import (
    httppolicy_bodies as bodies,
    httppolicy_headers as headers,
    httppolicy_responses as responses,
)

_ALGORITHMS: Final = {
    "brotli": treatment.Algorithm.BROTLI,
    "gzip": treatment.Algorithm.GZIP,
    "zstd": treatment.Algorithm.ZSTD,
}
_MIN_LENGTH: Final = 1024
_CLOSED: Final = ir.Body('{"error":"maintenance"}', True, "application/json")


def changes(given: headers.HeaderChanges | None) -> treatment.HeaderChanges:
    """Header names in lower case."""
    if given is None or given.disabled:
        return treatment.HeaderChanges()
    return treatment.HeaderChanges(
        tuple((one.name.lower(), one.to.lower()) for one in given.rename or ()),
        tuple(dict.fromkeys(name.lower() for name in given.remove or ())),
        tuple(dict.fromkeys(name.lower() for name in given.remove_prefixes or ())),
        pairs(given.set),
        pairs(given.add),
    )


def pairs(given: Iterable[headers.Header] | None) -> treatment.Pairs:
    """Names in lower case, and values."""
    return tuple((one.name.lower(), one.value) for one in given or ())


def query(given: headers.QueryParameters | None) -> treatment.QueryChanges:
    """Names of query parameters keep their case."""
    if given is None or given.disabled:
        return treatment.QueryChanges()
    return treatment.QueryChanges(
        given.remove or (),
        tuple((one.name, one.value) for one in given.set or ()),
        tuple((one.name, one.value) for one in given.add or ()),
    )


def host(given: headers.Host) -> ir.HostRewrite | None:
    """A host that depends on the request; None for a literal one."""
    if given.header is not None:
        return ir.HostFromHeader(given.header.lower())
    if given.path is not None:
        return ir.HostFromPath(given.path.regex, given.path.substitution)
    return None


def compression(given: bodies.Compression | None) -> treatment.Compression | None:
    """With its defaults. A section that says nothing is one that wants compression."""
    if given is None or given.disabled:
        return None
    types = given.content_types or bodies.COMPRESSIBLE
    return treatment.Compression(
        tuple(_ALGORITHMS[one] for one in given.algorithms or ("brotli", "zstd", "gzip")),
        treatment.Effort(given.effort or "Balanced"),
        _MIN_LENGTH if given.min_length is None else given.min_length,
        tuple(dict.fromkeys(one.lower() for one in types)),
        given.weaken_e_tags is not False,
        tuple(sorted(set(given.except_statuses or ()))),
    )


def decompression(given: bodies.Decompression | None) -> tuple[treatment.Algorithm, ...]:
    """What is undone."""
    if given is None or given.disabled:
        return ()
    return tuple(_ALGORITHMS[one] for one in given.algorithms or ("gzip",))


def body(given: responses.Body) -> ir.Body:
    """JSON in one canonical form: the IR compares by content."""
    if given.json is not None:
        text = json.dumps(given.json, separators=(",", ":"), sort_keys=True)
        return ir.Body(text, True, given.content_type or "application/json")
    return ir.Body(given.text or "", False, given.content_type or "text/plain")


def overrides(given: responses.ResponseOverride | None) -> tuple[treatment.Override, ...]:
    """In their order."""
    if given is None or given.disabled:
        return ()
    return tuple(
        treatment.Override(
            tuple(dict.fromkeys(one.statuses)),
            one.made_by == "Envoy",
            body(one.body) if one.body is not None else None,
            one.status or 0,
            pairs(one.headers),
        )
        for one in given.rules or ()
    )


def exempt(given: responses.Maintenance) -> bool:
    """Whether somebody gets through."""
    return given.exempt is not None and bool(given.exempt.headers or given.exempt.addresses)


def closed(given: responses.Maintenance) -> tuple[ir.Body, treatment.Pairs]:
    """Body and headers of the answer in maintenance."""
    after = given.retry_after
    told = () if after is None else (("retry-after", str(math.ceil(after))),)
    return (body(given.body) if given.body is not None else _CLOSED), told
