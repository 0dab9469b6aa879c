"""Lists whose entries must differ (list types `map` and `set` of the CRDs): what the API server refuses.

Header names that differ in case alone pass: of those the first counts. `rules_http` and `rules_grpc` call
it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dragoman.diagnostics import Diagnostic, error
from dragoman.refs import Origin
from dragoman.translators.gateway.models import grpcroute, httproute as model


def of_match(where: Origin, match: model.Match | grpcroute.Match) -> Iterator[Diagnostic]:
    """Conditions for one header, or one parameter."""
    yield from _names(where.at("headers"), [one.name for one in match.headers])
    if isinstance(match, model.Match):
        yield from _names(where.at("queryParams"), [one.name for one in match.query_params])


def of_filter(where: Origin, item: model.Filter) -> Iterator[Diagnostic]:
    """Changes of one header, and what CORS allows."""
    for field, given in (
        ("requestHeaderModifier", item.request_header_modifier),
        ("responseHeaderModifier", item.response_header_modifier),
    ):
        if given is not None:
            yield from _names(where.at(field, "set"), [one.name for one in given.set])
            yield from _names(where.at(field, "add"), [one.name for one in given.add])
            yield from _values(where.at(field, "remove"), given.remove)
    if item.cors is not None:
        yield from _values(where.at("cors", "allowOrigins"), item.cors.allow_origins)
        yield from _values(where.at("cors", "allowMethods"), item.cors.allow_methods)
        yield from _values(where.at("cors", "allowHeaders"), item.cors.allow_headers)
        yield from _values(where.at("cors", "exposeHeaders"), item.cors.expose_headers)


def of_retry(where: Origin, retry: model.Retry) -> Iterator[Diagnostic]:
    """Status codes."""
    yield from _values(where.at("codes"), retry.codes)


def _names(where: Origin, given: Sequence[str]) -> Iterator[Diagnostic]:
    for at in _repeated(given):
        yield error("DRG1108", f"`{given[at]}` is listed twice", where.at(at, "name"))


def _values(where: Origin, given: Sequence[str] | Sequence[int]) -> Iterator[Diagnostic]:
    for at in _repeated(given):
        yield error("DRG1108", f"`{given[at]}` is listed twice", where.at(at))


def _repeated(given: Sequence[object]) -> list[int]:
    if len(given) < 2 or len(set(given)) == len(given):
        return []
    return [at for at, one in enumerate(given) if one in given[:at]]
