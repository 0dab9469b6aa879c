"""How one of several endpoints is chosen, in the words of Envoy's load balancing extensions. Called by
`clusters.py` where a policy says so; other clusters have `LEAST_REQUEST` in the old words.

What requests are hashed on stands in the cluster too (`hashes`), not in routes as usual: so it belongs to the
backend, a rule may deal to backends that differ in it, and a change of it touches no route.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

from dragoman import proto
from dragoman.envoy import durations
from dragoman.ir import upstream
from dragoman.proto.envoy.config.cluster import v3 as cluster_proto
from dragoman.proto.envoy.config.route import v3 as route_proto
from dragoman.proto.envoy.extensions.load_balancing_policies.common import v3 as common
from dragoman.proto.envoy.extensions.load_balancing_policies.least_request import v3 as least_request
from dragoman.proto.envoy.extensions.load_balancing_policies.maglev import v3 as maglev
from dragoman.proto.envoy.extensions.load_balancing_policies.random import v3 as random
from dragoman.proto.envoy.extensions.load_balancing_policies.ring_hash import v3 as ring_hash
from dragoman.proto.envoy.extensions.load_balancing_policies.round_robin import v3 as round_robin


def write(target: cluster_proto.LoadBalancingPolicy, given: upstream.Balancing) -> None:
    """The one policy."""
    name, config = _config(given)
    extension = target.policies.add().typed_extension_config
    extension.name = f"envoy.load_balancing_policies.{name}"
    extension.typed_config.CopyFrom(proto.pack_any(config))


def hashes(given: upstream.Balancing | None) -> Sequence[upstream.HashSource]:
    """What requests are hashed on."""
    return given.sources if isinstance(given, upstream.RingHash | upstream.Maglev) else ()


def write_hashes(options: Any, sources: Sequence[upstream.HashSource]) -> None:
    """`options.hash_policy`: the first source that a request has decides (Envoy would mix them)."""
    for source in sources:
        policy = options.hash_policy.add()
        policy.terminal = True
        _hash(policy, source)


def _hash(policy: route_proto.RouteAction.HashPolicy, source: upstream.HashSource) -> None:
    match source:
        case upstream.HashHeader(name):
            policy.header.header_name = name
        case upstream.HashCookie(name, ttl, path):
            policy.cookie.name = name
            if ttl is not None:
                durations.assign(policy.cookie.ttl, ttl)
                policy.cookie.path = path
        case upstream.HashQuery(name):
            policy.query_parameter.name = name
        case upstream.HashAddress():
            policy.connection_properties.source_ip = True
        case _:
            assert_never(source)


def _config(given: upstream.Balancing) -> tuple[str, proto.Message]:
    match given:
        case upstream.RoundRobin(slow_start, local):
            rounds = round_robin.RoundRobin()
            _slow_start(rounds.slow_start_config, slow_start)
            _zones(rounds.locality_lb_config, local)
            return "round_robin", rounds
        case upstream.LeastRequest(choices, bias, slow_start, local):
            least = least_request.LeastRequest()
            least.choice_count.value = choices
            least.active_request_bias.default_value = bias
            least.active_request_bias.runtime_key = "dragoman.active_request_bias"
            _slow_start(least.slow_start_config, slow_start)
            _zones(least.locality_lb_config, local)
            return "least_request", least
        case upstream.Random(local):
            chance = random.Random()
            _zones(chance.locality_lb_config, local)
            return "random", chance
        case upstream.RingHash(_, minimum, maximum, balance):
            ring = ring_hash.RingHash()
            ring.minimum_ring_size.value, ring.maximum_ring_size.value = minimum, maximum
            if balance:
                ring.consistent_hashing_lb_config.hash_balance_factor.value = balance
            return "ring_hash", ring
        case upstream.Maglev(_, table, balance):
            entries = maglev.Maglev()
            entries.table_size.value = table
            if balance:
                entries.consistent_hashing_lb_config.hash_balance_factor.value = balance
            return "maglev", entries
        case _:
            assert_never(given)


def _slow_start(target: common.SlowStartConfig, given: upstream.SlowStart | None) -> None:
    if given is None:
        return
    durations.assign(target.slow_start_window, given.window)
    target.aggression.default_value = given.aggression
    target.aggression.runtime_key = "dragoman.slow_start_aggression"
    target.min_weight_percent.value = given.percent


def _zones(target: common.LocalityLbConfig, local: int) -> None:
    """Endpoints of Envoy's own zone alone. Envoy would also weigh how many Envoys there are in each zone; of
    those it is told nothing but itself (`bootstrap.LOCAL_CLUSTER`)."""
    if local:
        zones = target.zone_aware_lb_config
        zones.routing_enabled.value = 100
        zones.min_cluster_size.value = 1
        zones.force_local_zone.min_size.value = local
