"""The access log that reports requests under a Rollout to the control plane.

The log stands in every connection manager, always the same: a changed connection manager drains connections.
Its filter looks for what `filters.rollouts` leaves in a request's metadata, so requests of other routes are
not reported, and cost no more than that look; a reported one costs Envoy some 20 us of CPU (docs/rollout.md).
The stream is opened at the first report, to the cluster that the bootstrap has for xDS. An Envoy whose
bootstrap has no such cluster takes the log all the same, and drops what it would report.
"""

from __future__ import annotations

from typing import Final

from dragoman import proto
from dragoman.envoy import bootstrap, durations
from dragoman.envoy.filters import rollouts
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.extensions.access_loggers.grpc import v3 as grpc_log
from dragoman.proto.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from dragoman.proto.envoy.type.tracing import v3 as tracing

TAG: Final = "rollout"
"""The custom tag that names the Rollout in a report."""

_FLUSH: Final = 1.0
"""Seconds that reports are collected before they are sent."""


def write(target: hcm.HttpConnectionManager) -> None:
    """Adds the log to a connection manager."""
    entry = target.access_log.add()
    entry.name = "dragoman.rollouts"
    looks = entry.filter.metadata_filter
    looks.matcher.filter = rollouts.NAMESPACE
    looks.matcher.path.add().key = rollouts.KEY
    looks.matcher.value.present_match = True
    looks.match_if_key_not_found.value = False
    report = grpc_log.HttpGrpcAccessLogConfig()
    common = report.common_config
    common.log_name = "rollouts"
    common.transport_api_version = core.ApiVersion.V3
    common.grpc_service.envoy_grpc.cluster_name = bootstrap.XDS_CLUSTER
    durations.assign(common.buffer_flush_interval, _FLUSH)
    tag = tracing.CustomTag(tag=TAG)
    tag.metadata.kind.request.SetInParent()
    tag.metadata.metadata_key.key = rollouts.NAMESPACE
    tag.metadata.metadata_key.path.add().key = rollouts.KEY
    common.custom_tags.append(tag)
    report.additional_response_headers_to_log.append("grpc-status")
    report.additional_response_trailers_to_log.append("grpc-status")
    entry.typed_config.CopyFrom(proto.pack_any(report))
