"""Maintenance with exemptions: 503 for everybody but those who may look. (Without, it is a direct response.)

Envoy has no filter that answers. What serves is `composite`, told by the route which filters to run for a
request that is not exempt: `fault`, which always aborts, and behind it `custom_response`, which makes the
answer. Access logs say `maintenance` as the response's details, and have the flag FI.

The client's address is read from a header that `CLIENT` sets just before (whatever a client says in it) and
`header_mutation` removes: Envoy's input for source addresses stays without a value here.
"""

from __future__ import annotations

import functools
import ipaddress
from typing import Final

from dragoman import proto
from dragoman.envoy import templates
from dragoman.envoy.filters import base, custom_response as overriding, mutations
from dragoman.ir import model as ir, treatment
from dragoman.proto.envoy.extensions.common.matching import v3 as matching
from dragoman.proto.envoy.extensions.filters.http.composite import v3 as composite
from dragoman.proto.envoy.extensions.filters.http.custom_response import v3 as custom_response
from dragoman.proto.envoy.extensions.filters.http.fault import v3 as fault
from dragoman.proto.envoy.extensions.filters.http.header_mutation import v3 as header_mutation
from dragoman.proto.envoy.extensions.matching.input_matchers.ip import v3 as ip
from dragoman.proto.envoy.type.matcher import v3 as matcher
from dragoman.proto.xds.type.matcher import v3 as xds

ADDRESS: Final = "x-dragoman-client-address"
_DETAILS: Final = "maintenance"

Predicate = xds.Matcher.MatcherList.Predicate


class Maintenance:
    """An `envoy.filters.http.composite`, and what decides when it acts."""

    name = "dragoman.http.maintenance"
    disabled = True

    def config(self) -> base.Config:
        made = matching.ExtensionWithMatcher()
        made.extension_config.name = "composite"
        made.extension_config.typed_config.CopyFrom(proto.pack_any(composite.Composite()))
        made.xds_matcher.SetInParent()
        return base.config(made)

    def per_route(self, route: ir.Route) -> base.Config | None:
        given = route.treatment.maintenance
        return None if given is None else _per_route(given, overriding.always(route))


FILTER = Maintenance()


class ClientAddress(mutations.Mutations):
    """An `envoy.filters.http.header_mutation`: tells `Maintenance` who asks, where that matters."""

    name = "dragoman.http.client_address"

    def per_route(self, route: ir.Route) -> base.Config | None:
        return _told() if by_address(route) else None


CLIENT = ClientAddress()


def by_address(route: ir.Route) -> bool:
    """Whether the client's address decides."""
    return route.treatment.maintenance is not None and bool(route.treatment.maintenance.exempt_networks)


@functools.cache
def _told() -> base.Config:
    made = header_mutation.HeaderMutationPerRoute()
    told = templates.option(ADDRESS, "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", overwrite=True)
    made.mutations.request_mutations.add().append.CopyFrom(told)
    return base.config(made)


@functools.lru_cache(maxsize=1024)
def _per_route(given: treatment.Maintenance, headers: ir.Pairs) -> base.Config:
    made = matching.ExtensionWithMatcherPerRoute()
    entry = made.xds_matcher.matcher_list.matchers.add()
    _exempt(entry.predicate.not_matcher, given)
    action = entry.on_match.action
    action.name = "composite-action"
    action.typed_config.CopyFrom(proto.pack_any(_answer(given, headers)))
    return base.config(made)


def _exempt(target: Predicate, given: treatment.Maintenance) -> None:
    several = len(given.exempt_headers) + bool(given.exempt_networks) > 1
    for name, value in given.exempt_headers:
        single = (target.or_matcher.predicate.add() if several else target).single_predicate
        _header(single, name)
        if value is None:
            single.value_match.safe_regex.regex = ".*"
            single.value_match.safe_regex.google_re2.SetInParent()
        else:
            single.value_match.exact = value
    if given.exempt_networks:
        single = (target.or_matcher.predicate.add() if several else target).single_predicate
        _header(single, ADDRESS)
        networks = ip.Ip(stat_prefix="maintenance")
        for each in map(ipaddress.ip_network, given.exempt_networks):
            found = networks.cidr_ranges.add(address_prefix=str(each.network_address))
            found.prefix_len.value = each.prefixlen
        single.custom_match.name = "ip"
        single.custom_match.typed_config.CopyFrom(proto.pack_any(networks))


def _header(target: Predicate.SinglePredicate, name: str) -> None:
    target.input.name = name
    read = matcher.HttpRequestHeaderMatchInput(header_name=name)
    target.input.typed_config.CopyFrom(proto.pack_any(read))


def _answer(given: treatment.Maintenance, headers: ir.Pairs) -> composite.ExecuteFilterAction:
    made = composite.ExecuteFilterAction()
    override = treatment.Override((), True, given.body, given.status, given.headers)
    wanted = overriding.policy(override, headers)
    wanted.response_code_details = _DETAILS
    answer = custom_response.CustomResponse()
    entry = answer.custom_response_matcher.matcher_list.matchers.add()
    single = entry.predicate.single_predicate
    single.input.name = "local"
    single.input.typed_config.CopyFrom(proto.pack_any(matcher.HttpResponseLocalReplyMatchInput()))
    single.value_match.exact = "true"
    entry.on_match.action.name = "answer"
    entry.on_match.action.typed_config.CopyFrom(proto.pack_any(wanted))
    abort = fault.HTTPFault()
    abort.abort.http_status = given.status
    abort.abort.percentage.numerator = 100
    for name, config in (("custom_response", answer), ("fault", abort)):
        made.filter_chain.typed_config.add(name=name).typed_config.CopyFrom(proto.pack_any(config))
    return made
