"""Limits in Envoy's words: what of a request becomes a descriptor's entries.

They are told in the configuration of filters, never in a route's action, from where Envoy 1.40 takes no
costs, and which routes without a backend do not have. `ir.ratelimit.shapes` says what entries come out.
Called by the filters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from dragoman import proto
from dragoman.envoy import limit_keys
from dragoman.ir import model as ir, ratelimit
from dragoman.proto.envoy.config.route import v3 as route_proto
from dragoman.proto.envoy.extensions.rate_limit_descriptors.expr import v3 as expr

CLUSTER: Final = "ratelimit"
"""The rate-limit service. No object has this name (no slash)."""
STREAMS: Final = "ratelimit-streams"
"""Where it takes streams (RLQS)."""

COOKIES: Final = "dragoman.cookies"
"""Dynamic metadata that hold cookies; `filters.cookies` writes them."""
NAMES: Final = "dragoman.local"
"""Metadata of routes: which limits of Envoy's own they have."""
_CLAIMS: Final = "envoy.filters.http.jwt_authn"
_PAYLOAD: Final = "payload"

_NUMBER: Final = "[1-9][0-9]{0,8}"
"""A cost. Others, and none, cost 1: Envoy would send no descriptor at all."""

Action = route_proto.RateLimit.Action


def asked(limit: ir.RateLimit) -> Iterator[route_proto.RateLimit]:
    """What the service is asked about a limit."""
    cost = limit.cost
    if cost is None:
        yield _asked(limit)
    elif cost.response:
        look = _asked(limit)
        look.hits_addend.number.value = 0
        yield look
        charge = _asked(limit)
        charge.hits_addend.format = _amount(cost)
        charge.apply_on_stream_done = True
        yield charge
    else:
        said = _asked(limit, ratelimit.SAID)
        said.hits_addend.format = _amount(cost)
        yield said
        yield _asked(limit, ratelimit.DEFAULT)


def _amount(cost: ratelimit.Cost) -> str:
    if cost.path:
        return f"%DYNAMIC_METADATA({':'.join(cost.path)})%"
    return f"%RESP({cost.header})%" if cost.response else f"%REQ({cost.header})%"


def _asked(limit: ir.RateLimit, cost: str = "") -> route_proto.RateLimit:
    message = route_proto.RateLimit()
    _write(message, limit, cost)
    return message


def counted(limit: ir.RateLimit, key: str) -> Iterator[route_proto.RateLimit]:
    """What Envoy itself counts a request by, for every limit that is like this one but for its names and
    numbers: those of a route are in its metadata, under `key`."""
    costs = (ratelimit.SAID, ratelimit.DEFAULT) if limit.cost is not None else ("",)
    for cost in costs:
        message = route_proto.RateLimit()
        _write(message, limit, cost, key)
        if limit.cost is not None and cost == ratelimit.SAID:
            message.hits_addend.format = _amount(limit.cost)
        shown = limit.told.x_ratelimit
        message.x_ratelimit_option = message.DRAFT_VERSION_03 if shown else message.OFF
        yield message


def _write(target: route_proto.RateLimit, limit: ir.RateLimit, cost: str = "", names: str = "") -> None:
    conditions = iter(limit.when)
    for entry in ratelimit.head(limit, cost):
        action = target.actions.add()
        if entry.key == ratelimit.OF_PLAN:
            _expression(action, entry.key, limit_keys.plan(limit.plans))
        elif entry.key == ratelimit.WHEN:
            _condition(action.header_value_match, entry, next(conditions))
        elif entry.key == ratelimit.COST and limit.cost is not None:
            # Envoy's own buckets are found by all entries: there both say the same.
            told = entry._replace(value=ratelimit.SAID) if names else entry
            _costs(action, told, limit.cost, said=cost == ratelimit.SAID)
        elif names:
            named = action.metadata
            named.descriptor_key, named.metadata_key.key = entry.key, NAMES
            named.source = named.ROUTE_ENTRY
            for step in (names, entry.key):
                named.metadata_key.path.add().key = step
        else:
            action.generic_key.descriptor_key = entry.key
            action.generic_key.descriptor_value = entry.value or ""
    for part in limit.key:
        _part(target.actions.add(), part)


def _costs(target: Action, entry: ratelimit.Entry, cost: ratelimit.Cost, *, said: bool) -> None:
    """There is no descriptor unless the request says a cost; or only then, without `said`."""
    if cost.path:
        _expression(target, entry.key, limit_keys.costs(cost.path, entry.value or "", said=said))
    else:
        condition = ratelimit.Condition(cost.header, _NUMBER, regex=True, invert=not said)
        _condition(target.header_value_match, entry, condition)


def _condition(
    target: Action.HeaderValueMatch, entry: ratelimit.Entry, condition: ratelimit.Condition
) -> None:
    target.descriptor_key, target.descriptor_value = entry.key, entry.value or ""
    target.expect_match.value = not condition.invert
    header = target.headers.add()
    header.name = condition.header
    if condition.value is None:
        header.present_match = True
    elif condition.regex:
        header.string_match.safe_regex.regex = condition.value
    else:
        header.string_match.exact = condition.value


def _part(target: Action, part: ratelimit.KeyPart) -> None:
    key = ratelimit.entry_key(part)
    match part.part:
        case ratelimit.Part.ADDRESS:
            masked = target.masked_remote_address
            masked.v4_prefix_mask_len.value, masked.v6_prefix_mask_len.value = part.bits4, part.bits6
        case ratelimit.Part.QUERY:
            query = target.query_parameters
            query.query_parameter_name, query.descriptor_key = part.name, key
            query.skip_if_absent = True
        case ratelimit.Part.COOKIE:
            _metadata(target.metadata, key, COOKIES, (part.name,))
        case ratelimit.Part.CLAIM:
            _metadata(target.metadata, key, _CLAIMS, (_PAYLOAD, *part.name.split(".")))
        case _:
            _expression(target, key, limit_keys.part(part))


def _expression(target: Action, key: str, text: str) -> None:
    target.extension.name = "envoy.rate_limit_descriptors.expr"
    target.extension.typed_config.CopyFrom(proto.pack_any(expr.Descriptor(descriptor_key=key, text=text)))


def _metadata(target: Action.MetaData, key: str, namespace: str, path: Iterable[str]) -> None:
    target.descriptor_key = key
    target.default_value = ratelimit.ABSENT
    target.metadata_key.key = namespace
    for step in path:
        target.metadata_key.path.add().key = step
