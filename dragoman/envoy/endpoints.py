"""Endpoints into load assignments: on their own for EDS, inside the cluster for the rest.

Called by the pipeline when a Service's endpoints change, the shortest way through the program, and by
`clusters.py`. Endpoints are grouped by priority and zone. Envoy wants priorities without gaps, so they
are numbered anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dragoman import proto, resource
from dragoman.envoy import addresses, naming
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.config.endpoint import v3 as endpoint_proto

_ENOUGH: Final = 1_000_000
"""Percent: one healthy endpoint in ten thousand carries it all."""


def encode(endpoints: ir.EndpointSet) -> resource.Resource:
    """One EDS resource. Without endpoints it is empty, never absent: that is how Envoy forgets them."""
    name = naming.cluster(endpoints.key)
    message = endpoint_proto.ClusterLoadAssignment()
    write(message, name, endpoints.endpoints)
    shares = dict(endpoints.shares)
    if shares:
        message.ClearField("policy")  # zones lose weight with their endpoints, as Envoy has it
    for place in message.endpoints if shares else ():
        place.load_balancing_weight.value = shares[place.locality.zone]
    return resource.make(resource.ENDPOINT, name, proto.serialize(message))


def write(target: endpoint_proto.ClusterLoadAssignment, name: str, endpoints: Sequence[ir.Endpoint]) -> None:
    """Fills `target`. `endpoints` may come in any order; those of weight 0 get nothing and are left out."""
    target.cluster_name = name
    places: dict[tuple[int, str], endpoint_proto.LocalityLbEndpoints] = {}
    for priority, zone in sorted({(each.priority, each.zone) for each in endpoints if each.weight > 0}):
        places[priority, zone] = place = target.endpoints.add()
        if zone:
            place.locality.zone = zone
        place.priority = priority
    _close_gaps(target)
    for each in endpoints:
        if each.weight > 0:
            _endpoint(places[each.priority, each.zone].lb_endpoints.add(), each)
    several = len(endpoints) > 1 or any(each.hostname for each in endpoints)
    if several and len({priority for priority, _ in places}) == 1:
        # Where another cluster takes over from this one (`pairs.py`), it does so when no endpoint is left;
        # Envoy would begin below 72 % of them. Without such a pair this has no effect.
        target.policy.overprovisioning_factor.value = _ENOUGH


def _close_gaps(target: endpoint_proto.ClusterLoadAssignment) -> None:
    """Places stand in order of priority: 0, 5, 5, 9 becomes 0, 1, 1, 2."""
    given = number = -1
    for place in target.endpoints:
        if place.priority != given:
            given = place.priority
            number += 1
        place.priority = number


def _endpoint(target: endpoint_proto.LbEndpoint, each: ir.Endpoint) -> None:
    addresses.write(target.endpoint.address, each.address, each.port)
    if each.hostname:
        target.endpoint.hostname = each.hostname
    if each.health is ir.Health.DRAINING:
        target.health_status = core.DRAINING
    elif each.health is ir.Health.UNHEALTHY:
        target.health_status = core.UNHEALTHY
    if each.weight != 1:
        target.load_balancing_weight.value = each.weight
