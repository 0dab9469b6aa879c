"""The cluster of the rate-limit service: of which kind it is for which endpoints."""

from __future__ import annotations

import pytest

from dragoman.envoy import ratelimit_service
from dragoman.proto.envoy.config.cluster import v3 as cluster_proto

Cluster = cluster_proto.Cluster


def made(*endpoints: tuple[str, int]) -> cluster_proto.Cluster:
    found = ratelimit_service.cluster("ratelimit", ratelimit_service.Place(endpoints))
    return Cluster.FromString(found.payload)


@pytest.mark.parametrize(
    ("endpoints", "kind"),
    [
        ([("10.0.0.3", 8081), ("::1", 8081)], Cluster.STATIC),
        ([("unix:/run/a.sock", 0), ("10.0.0.3", 8081)], Cluster.STATIC),
        ([("rls.infra", 8081)], Cluster.STRICT_DNS),
        ([("10.0.0.3", 8081), ("rls.infra", 8081)], Cluster.STRICT_DNS),
    ],
)
def test_names_are_looked_up(endpoints: list[tuple[str, int]], kind: int) -> None:
    found = made(*endpoints)
    assert found.type == kind
    assert len(found.load_assignment.endpoints[0].lb_endpoints) == len(endpoints)
    # Envoy's default asks IPv6 alone wherever a name has such addresses.
    named = kind == Cluster.STRICT_DNS
    assert found.dns_lookup_family == (Cluster.V4_PREFERRED if named else Cluster.AUTO)


def test_an_endpoint_that_is_not_well_is_never_asked() -> None:
    found = made(("10.0.0.3", 8081))
    assert found.common_lb_config.HasField("healthy_panic_threshold")
    assert found.common_lb_config.healthy_panic_threshold.value == 0
    assert found.health_checks[0].grpc_health_check.service_name == "ratelimit"
