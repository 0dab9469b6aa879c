"""Where Envoy gets named resources from: always the one aggregated stream that the bootstrap opened.

Used by listeners (route tables, certificates) and clusters (endpoints, certificates).
"""

from __future__ import annotations

from dragoman.envoy import naming
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.extensions.transport_sockets.tls import v3 as tls


def write_ads(target: core.ConfigSource) -> None:
    """Points `target` at the aggregated stream."""
    target.ads.SetInParent()
    target.resource_api_version = core.V3


def write_secret(target: tls.SdsSecretConfig, key: ir.SecretKey) -> str:
    """Points `target` at a secret; returns the secret's name."""
    target.name = naming.secret(key)
    write_ads(target.sds_config)
    return target.name
