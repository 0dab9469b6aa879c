"""Changes of headers that policies want, with values from the request.

Late in the chain, so that values may come from what authentication found, and before the router, which
applies what the route says itself: on requests the route has the last word. On responses it speaks first, so
the translator leaves out what would undo it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from dragoman.envoy import templates
from dragoman.envoy.filters import base, maintenance, mutations, query_parameters
from dragoman.ir import model as ir, treatment
from dragoman.proto.envoy.extensions.filters.http.header_mutation import v3 as header_mutation

if TYPE_CHECKING:
    from google.protobuf.internal import containers

    from dragoman.proto.envoy.config.common.mutation_rules import v3 as mutation_rules

    Mutations = containers.RepeatedCompositeFieldContainer[mutation_rules.HeaderMutation]


class HeaderMutation(mutations.Mutations):
    """`envoy.filters.http.header_mutation`."""

    name = "envoy.filters.http.header_mutation"

    def per_route(self, route: ir.Route) -> base.Config | None:
        given = route.treatment
        address = maintenance.by_address(route)
        if not given.request and not given.response and not given.query and not address:
            return None
        return _per_route(given.request, given.response, given.query, address)


FILTER = HeaderMutation()


@functools.lru_cache(maxsize=1024)
def _per_route(
    request: treatment.HeaderChanges,
    response: treatment.HeaderChanges,
    query: treatment.QueryChanges,
    address: bool,
) -> base.Config:
    made = header_mutation.HeaderMutationPerRoute()
    # What query parameters get goes to `query_parameters` in headers of its own.
    request_mutations = made.mutations.request_mutations
    if address:
        request_mutations.add().remove = maintenance.ADDRESS
    values = query_parameters.values(query)
    if values:
        request_mutations.add().remove_on_match.key_matcher.prefix = query_parameters.PREFIX
    for name, value in values:
        request_mutations.add().append.CopyFrom(templates.option(name, value, overwrite=True))
    _headers(request_mutations, request, "REQ")
    _headers(made.mutations.response_mutations, response, "RESP")
    return base.config(made)


def _headers(target: Mutations, changes: treatment.HeaderChanges, operator: str) -> None:
    """A header that is not there is renamed by an empty value, which changes nothing."""
    for name, to in changes.rename:
        moved = templates.option(to, f"%{operator}({name})%", overwrite=True)
        target.add().append.CopyFrom(moved)
        target.add().remove = name
    for name in changes.remove:
        target.add().remove = name
    for prefix in changes.remove_prefixes:
        target.add().remove_on_match.key_matcher.prefix = prefix
    for name, value in changes.set:
        target.add().append.CopyFrom(templates.option(name, value, overwrite=True))
    for name, value in changes.add:
        target.add().append.CopyFrom(templates.option(name, value, overwrite=False))
