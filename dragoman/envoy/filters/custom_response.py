"""Other responses in place of some: overrides by status, and the body of 413.

Envoy sends the new response at once: what stands before this filter in the chain sees nothing of it, and
every header of the old one is dropped. So an answer whose headers matter (429 with Retry-After) is better
left alone, and what policies set on all responses is written into each override (Envoy adds the route's own).
"""

from __future__ import annotations

import functools
from typing import Final

from dragoman import proto
from dragoman.envoy import templates
from dragoman.envoy.filters import answers, base
from dragoman.ir import model as ir, treatment
from dragoman.proto.envoy.extensions.filters.http.custom_response import v3 as custom_response
from dragoman.proto.envoy.extensions.http.custom_response.local_response_policy import v3 as local_response
from dragoman.proto.envoy.type.matcher import v3 as matcher
from dragoman.proto.xds.type.matcher import v3 as xds

Predicate = xds.Matcher.MatcherList.Predicate
_TOO_LARGE: Final = 413
_TYPE: Final = proto.type_url(custom_response.CustomResponse)


class CustomResponse:
    """`envoy.filters.http.custom_response`."""

    name = "envoy.filters.http.custom_response"
    disabled = True

    def config(self) -> base.Config:
        return base.config(custom_response.CustomResponse())

    def per_route(self, route: ir.Route) -> base.Config | None:
        given = route.treatment
        refused = answers.config(route)
        if not given.overrides and given.body_limit is None:
            return base.Config(_TYPE, refused) if refused else None
        made = _per_route(given.overrides, given.body_limit, always(route))
        return base.Config(_TYPE, refused + made.value) if refused else made


FILTER = CustomResponse()


def always(route: ir.Route) -> ir.Pairs:
    """The headers that policies give to every response of a route, where they do not depend on another
    response."""
    wanted = (*route.treatment.response.set, *route.treatment.response.add)
    return tuple(one for one in wanted if "%RESP(" not in one[1])


@functools.lru_cache(maxsize=1024)
def _per_route(
    overrides: tuple[treatment.Override, ...], limit: int | None, headers: ir.Pairs
) -> base.Config:
    if limit is not None:
        overrides = (*overrides, _too_large(limit))
    made = custom_response.CustomResponse()
    for override in overrides:
        entry = made.custom_response_matcher.matcher_list.matchers.add()
        _predicate(entry.predicate, override)
        action = entry.on_match.action
        action.name = "override"
        action.typed_config.CopyFrom(proto.pack_any(policy(override, headers)))
    return base.config(made)


def _too_large(limit: int) -> treatment.Override:
    body = ir.Body(f'{{"error":"payload_too_large","limit":{limit}}}', True, "application/json")
    return treatment.Override((str(_TOO_LARGE),), True, body)


def policy(override: treatment.Override, headers: ir.Pairs) -> local_response.LocalResponsePolicy:
    """The response, with `headers` beside its own. The format's content type is overlooked here, so it is a
    header."""
    made = local_response.LocalResponsePolicy()
    own = {"content-type", *(name for name, _ in override.headers)}
    for name, value in headers:
        if name not in own:
            made.response_headers_to_add.add().CopyFrom(templates.option(name, value, overwrite=False))
    if override.status:
        made.status_code.value = override.status
    if override.body is not None:
        templates.write(made.body_format, override.body)
        made.response_headers_to_add.add().CopyFrom(
            templates.option("content-type", override.body.content_type, overwrite=True)
        )
    made.response_headers_to_add.extend(templates.pairs(override.headers))
    return made


def _predicate(target: Predicate, override: treatment.Override) -> None:
    if not override.local:
        _statuses(target, override.statuses)
        return
    parts = target.and_matcher.predicate
    _single(parts.add(), matcher.HttpResponseLocalReplyMatchInput(), "true")
    _statuses(parts.add(), override.statuses)


def _statuses(target: Predicate, statuses: tuple[str, ...]) -> None:
    if len(statuses) == 1:
        _status(target, statuses[0])
        return
    for each in statuses:
        _status(target.or_matcher.predicate.add(), each)


def _status(target: Predicate, status: str) -> None:
    if status.endswith("xx"):
        _single(target, matcher.HttpResponseStatusCodeClassMatchInput(), status)
    else:
        _single(target, matcher.HttpResponseStatusCodeMatchInput(), status)


def _single(target: Predicate, read: proto.Message, value: str) -> None:
    target.single_predicate.input.name = "input"
    target.single_predicate.input.typed_config.CopyFrom(proto.pack_any(read))
    target.single_predicate.value_match.exact = value
