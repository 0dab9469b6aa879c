"""The HTTP filters in their order, and the two places where they enter a configuration.

`listeners.py` asks for the connection manager's list, `routes.py` for what each route enables. To add a
filter: write its module, put it here (docs/add-a-filter.md).
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any, Final, cast

from dragoman import proto, resource
from dragoman.envoy import sources
from dragoman.envoy.filters import (
    api_keys,
    authz,
    base,
    basic_auth,
    bodies,
    cache,
    cases,
    claims,
    clients,
    consumers,
    cookies,
    cors,
    counted,
    credentials,
    csrf,
    custom_response,
    ext_authz,
    fallbacks,
    faults,
    header_mutation,
    identity,
    jwt_authn,
    local_denials,
    local_ratelimit,
    maintenance,
    methods,
    oauth2,
    on_demand,
    query_parameters,
    quota,
    ratelimit,
    ratelimit_own,
    rbac,
    rollouts,
    router,
    sharding,
    spared,
    spent,
    stateful_session,
    tokens,
    tries,
)
from dragoman.ir import model as ir, shards
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.config.route import v3 as route_proto
from dragoman.proto.envoy.extensions.filters.network.http_connection_manager import v3 as hcm

Demand = tuple[str, Hashable]
"""A discovered filter's name, and a part of its configuration."""

FILTERS: Final[tuple[base.Filter, ...]] = (
    rollouts.FILTER,  # whoever answers: it is reported
    cors.FILTER,  # before anything that may refuse: a preflight carries no credentials
    custom_response.FILTER,  # an override ends the way of a response: it comes when all others are done
    maintenance.CLIENT,
    maintenance.FILTER,  # whose answer is no case for overrides; it sees headers as the client sent them
    bodies.FILTER,  # before whoever reads bodies; it compresses what those behind it have made
    csrf.FILTER,
    identity.FILTER,  # before those that set what it drops
    oauth2.FILTER,  # whose tokens the next one checks
    jwt_authn.FILTER,
    claims.FILTER,
    *basic_auth.FILTERS,
    basic_auth.TOLD,
    credentials.HELD,
    credentials.FILTER,  # what the next two look up; tokens were checked by now
    api_keys.FILTER,
    spared.FILTER,
    authz.FILTER,  # costs a call: not for requests that the former refuse
    authz.OPEN,
    tokens.FILTER,  # takes what the former found of tokens
    credentials.LOOKED_UP,
    consumers.FILTER,  # behind all that say whose a credential is
    credentials.TAKEN,
    clients.FILTER,  # takes what they found of clients
    clients.TOLD,
    methods.FILTER,
    spent.FILTER,  # nobody reads them any more
    ext_authz.FILTER,  # nobody is asked about a request whose token or key is no good
    ext_authz.OPEN,
    rbac.FILTER,  # what tokens and keys prove is known by now
    cases.FILTER,  # whoever comes here may pass: now it is decided where to
    cookies.FILTER,
    local_denials.DRAFTS,
    local_denials.FILTER,  # sees the answers of the next one, and the former what is made of them
    local_ratelimit.FILTER,  # behind who may pass: keys may be claims; what is denied here costs no call
    quota.KEYS,
    *quota.FILTERS,
    quota.DONE,
    *ratelimit.FILTERS,
    ratelimit_own.FILTER,
    counted.FILTER,  # nobody denies it any more
    cache.FILTER,  # what stands before it is asked each time, what stands after it only when the backend is
    header_mutation.FILTER,  # behind authentication: values may come from what it found
    query_parameters.FILTER,  # to which the former hands values
    fallbacks.FILTER,
    stateful_session.FILTER,
    faults.FILTER,  # after everything that may refuse: a failure of the backend's, as it were
    router.FILTER,
)

SHARDED: Final[Mapping[str, base.Sharded]] = {
    api_keys.FILTER.name: api_keys.FILTER,
    consumers.FILTER.name: consumers.FILTER,
}
"""Those whose configuration is one resource for each shard."""

_SHARED: Final[tuple[base.Discovered, ...]] = (
    identity.FILTER,
    jwt_authn.FILTER,
    api_keys.FILTER,
    consumers.FILTER,
    local_ratelimit.FILTER,
    *quota.FILTERS,
)
DISCOVERED: Final[Mapping[str, base.Discovered]] = {each.name: each for each in _SHARED}
"""Those whose configuration is a resource of its own, or several."""

PLACES: Final[Mapping[str, tuple[str, int | None]]] = {
    resource_name: place
    for name in DISCOVERED
    for resource_name, place in (
        {sharding.name(name, number): (name, number) for number in range(shards.COUNT)}
        if name in SHARDED
        else {name: (name, None)}
    ).items()
}
"""Name of such a resource -> the filter, and which of its shards."""

NAMES: Final = frozenset(PLACES)
"""The names of these resources."""

_OTHER_TYPES: Final[Mapping[str, str]] = {
    identity.FILTER.name: identity.NOTHING,
    **{each.name: quota.GUARDED for each in quota.FILTERS},
}
_OPTIONAL: Final = tuple((each.name, each.per_route) for each in (*FILTERS, tries.FILTER) if each.disabled)
_NONE: Final[frozenset[Demand]] = frozenset()


def demands(route: ir.Route) -> frozenset[Demand]:
    """The parts of shared configurations that a route names."""
    if route.auth is None and not route.limits:
        return _NONE
    return frozenset((name, one) for name, each in DISCOVERED.items() for one in each.demands(route))


def encode_shared(name: str, parts: Collection[Hashable]) -> resource.Resource:
    """The configuration of a discovered filter, or of one of its shards: the ECDS resource `name`."""
    encoder = DISCOVERED[PLACES[name][0]]
    made, sensitive = encoder.shared(parts), encoder.sensitive
    message = core.TypedExtensionConfig(name=name)
    message.typed_config.type_url, message.typed_config.value = made
    return resource.make(resource.EXTENSION, name, proto.serialize(message), sensitive=sensitive)


def write_filters(target: hcm.HttpConnectionManager, *, lazy: bool = False) -> None:
    """Adds every filter to a connection manager. `lazy`: and the one that fetches clusters."""
    for each in FILTERS:
        if lazy and each is router.FILTER:
            _write_filter(target, on_demand.FILTER)
        _write_filter(target, each)


def write_inner(target: hcm.HttpConnectionManager) -> None:
    """Adds what a connection manager behind the cache has (`envoy.inner`): what stands after the cache."""
    for name, disabled, config in cache.inner_filters():
        _write(target, name, disabled, config)
    for each in FILTERS[FILTERS.index(cache.FILTER) + 1 :]:
        _write_filter(target, each)


def _write(target: hcm.HttpConnectionManager, name: str, disabled: bool, config: base.Config) -> None:
    entry = target.http_filters.add()
    entry.name = name
    entry.disabled = disabled
    entry.typed_config.type_url, entry.typed_config.value = config


def _write_filter(target: hcm.HttpConnectionManager, each: base.Filter) -> None:
    if each.name not in DISCOVERED:
        _write(target, each.name, each.disabled, cast(base.Fixed, each).config())
        return
    if each.name in SHARDED:
        _write(target, each.name, each.disabled, sharding.config(SHARDED[each.name]))
        return
    entry = target.http_filters.add()
    entry.name = each.name
    entry.disabled = each.disabled
    sources.write_ads(entry.config_discovery.config_source)
    entry.config_discovery.type_urls.extend(type_urls(each.name))


def type_urls(name: str) -> tuple[str, ...]:
    """The types that the configuration of a discovered filter may be of."""
    usual = DISCOVERED[name].type_url
    return (usual, _OTHER_TYPES[name]) if name in _OTHER_TYPES else (usual,)


_UNASKED: Final = (
    "name",
    "match",
    "action",
    "order",
    "request_headers",
    "response_headers",
    "origin",
    "said",
)
"""What a route says to the router alone. Whatever else it says is for filters to look at."""
_UNASKED_FORWARD: Final = (
    *("backends", "rewrite", "hostname", "timeout", "try_timeout", "mirrors", "websocket", "try_idle"),
    *("stream_idle", "duration", "failure", "host"),
)


def _asks(kind: type, but: Collection[str]) -> tuple[Callable[[Any], Any], Any]:
    """How to look at all fields but some, and what they are where nobody said anything."""
    asked = [one for one in dataclasses.fields(kind) if one.name not in but]
    return operator.attrgetter(*(one.name for one in asked)), tuple(one.default for one in asked)


_look, _NOTHING = _asks(ir.Route, _UNASKED)
_look_forward, _NOTHING_FORWARD = _asks(ir.Forward, _UNASKED_FORWARD)


def asks_nothing(route: ir.Route) -> bool:
    """Whether no filter that sleeps can be meant, as with most routes: there are thirty to ask."""
    if _look(route) != _NOTHING:
        return False
    return not isinstance(route.action, ir.Forward) or _look_forward(route.action) == _NOTHING_FORWARD


def write_route(target: route_proto.Route, route: ir.Route) -> None:
    """Enables on `target` the filters that `route` asks for."""
    if asks_nothing(route):
        return
    for name, per_route in _OPTIONAL:
        config = per_route(route)
        if config is not None:
            entry = target.typed_per_filter_config[name]
            entry.type_url, entry.value = config
