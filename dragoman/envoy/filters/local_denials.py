"""What clients are told by limits that Envoy counts itself: status, body and headers as each limit says them.

Envoy's filter has one answer for all its buckets. So a few lines of Lua (`local_denials.lua`) make another
one of it, by the size of the bucket that had too few tokens (`ir.denials`) and what the route's metadata say
of that. `RateLimit-*` are copies of the headers that Envoy adds, made by `header_mutation`.

Each of Envoy's filters that counts adds `X-RateLimit-*` of its own. The same lines leave those of the
strictest, where there are several; what the backend says of itself is one of them. They run for denials and
such responses alone: others pass a comparison of two headers.
"""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Final

from dragoman import proto
from dragoman.envoy.filters import base, local_ratelimit, mutations
from dragoman.ir import denials, model as ir
from dragoman.proto.envoy.config.route import v3 as route_proto
from dragoman.proto.envoy.extensions.common.matching import v3 as matching
from dragoman.proto.envoy.extensions.filters.common.matcher.action import v3 as actions
from dragoman.proto.envoy.extensions.filters.http.header_mutation import v3 as header_mutation
from dragoman.proto.envoy.extensions.filters.http.lua import v3 as lua
from dragoman.proto.envoy.type.matcher import v3 as matcher
from dragoman.proto.xds.type.matcher import v3 as xds

_MESSAGE: Final = "Too many requests. Try again later."
_GRPC: Final = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
"""HTTP status -> gRPC's, as Envoy has it; others are 2."""
_UNKNOWN_GRPC: Final = 2
_LIMIT: Final = 'response.headers["x-ratelimit-limit"]'
_SHOWN: Final = '"x-ratelimit-limit" in response.headers'


def _local(route: ir.Route) -> bool:
    return any(limit.local for limit in route.limits)


def _several(route: ir.Route) -> bool:
    """Whether more than one filter may tell the numbers of a limit."""
    asked = {
        (limit.own, limit.failure, limit.queues, limit.timeout, limit.status)
        for limit in route.limits
        if limit.asked
    }
    return _local(route) + len(asked) > 1


class Denials:
    """An `envoy.filters.http.lua` that is skipped unless the limiter in front of it has denied, or several
    have told their numbers."""

    name = "dragoman.local.denials"
    disabled = True

    def config(self) -> base.Config:
        script = lua.Lua()
        script.default_source_code.inline_string = _script()
        script.clear_route_cache.value = False
        script.shared_vm_id = self.name
        made = matching.ExtensionWithMatcher()
        made.extension_config.name = "lua"
        made.extension_config.typed_config.CopyFrom(proto.pack_any(script))
        entry = made.xds_matcher.matcher_list.matchers.add()
        either = entry.predicate.not_matcher.or_matcher.predicate
        both = either.add().and_matcher.predicate
        # No backend can say this.
        _is(both.add(), matcher.HttpResponseLocalReplyMatchInput(), "true")
        header = matcher.HttpResponseHeaderMatchInput(header_name=local_ratelimit.DENIED)
        _is(both.add(), header, "local")
        several = either.add().single_predicate
        several.input.name = "input"
        told = matcher.HttpResponseHeaderMatchInput(header_name="x-ratelimit-remaining")
        several.input.typed_config.CopyFrom(proto.pack_any(told))
        several.value_match.contains = ","
        entry.on_match.action.name = "skip"
        entry.on_match.action.typed_config.CopyFrom(proto.pack_any(actions.SkipFilter()))
        return base.config(made)

    def per_route(self, route: ir.Route) -> base.Config | None:
        if not (_local(route) or _several(route)):
            return None
        return base.WAKE


class Drafts(mutations.Mutations):
    """An `envoy.filters.http.header_mutation`: `RateLimit-*`."""

    name = "dragoman.local.drafts"

    def per_route(self, route: ir.Route) -> base.Config | None:
        if not _local(route):
            return None
        wanted = [(number, one) for number, one in denials.by_number(route.limits).items() if one.draft]
        return _drafts(tuple((number, one.amount, one.window) for number, one in wanted)) if wanted else None


FILTER: Final = Denials()
DRAFTS: Final = Drafts()


def mark(target: route_proto.Route, route: ir.Route) -> None:
    """Writes down what clients of a route are told."""
    if not _local(route):
        return
    told = target.metadata.filter_metadata[FILTER.name]
    for number, one in denials.by_number(route.limits).items():
        entry = told.get_or_create_struct(str(number))
        entry["status"] = str(one.status)
        entry["grpc"] = str(_GRPC.get(one.status, _UNKNOWN_GRPC))
        entry["limit"], entry["policy"] = ",".join(one.names), ",".join(one.policies)
        entry["wait"] = one.retry_after
        if one.body:
            message = json.dumps(one.message or _MESSAGE, ensure_ascii=False)
            entry["before"] = f'{{"error":"rate_limit_exceeded","message":{message},"retryAfter":'
            entry["after"] = f',"limit":{one.amount}}}' if one.amount else "}"


@functools.lru_cache(maxsize=1024)
def _drafts(wanted: tuple[tuple[int, int, float], ...]) -> base.Config:
    """(size of the bucket, amount, seconds) of each limit that wants them."""
    numbers = ", ".join(f'"{number}"' for number, _, _ in wanted)
    policy = '""'
    for number, amount, window in wanted:
        text = f"{amount};w={-int(-window // 1)}" if amount and window else ""
        policy = f'{_LIMIT} == "{number}" ? "{text}" : {policy}'
    message = header_mutation.HeaderMutationPerRoute()
    values = {
        f"ratelimit-{name}": f'response.headers["x-ratelimit-{name}"]'
        for name in ("limit", "remaining", "reset")
    }
    for name, value in {**values, "ratelimit-policy": f"({policy})"}.items():
        option = message.mutations.response_mutations.add().append
        option.header.key = name
        option.header.value = f'%CEL({_SHOWN} && {_LIMIT} in [{numbers}] ? {value} : "")%'
        option.append_action = option.OVERWRITE_IF_EXISTS_OR_ADD
    return base.config(message)


def _is(target: xds.Matcher.MatcherList.Predicate, read: proto.Message, value: str) -> None:
    target.single_predicate.input.name = "input"
    target.single_predicate.input.typed_config.CopyFrom(proto.pack_any(read))
    target.single_predicate.value_match.exact = value


@functools.cache
def _script() -> str:
    return resources.files(__package__).joinpath("local_denials.lua").read_text()
