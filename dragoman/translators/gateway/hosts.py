"""Clusters of hosts that a policy names by URL: identity providers. Called by `backends`.

No object stands for them. They are what the URL says: TLS with `https`, whose certificate must be of that
name and of an authority that the system trusts.
"""

from __future__ import annotations

import ipaddress

from dragoman.ir import model as ir


def cluster(key: ir.ClusterKey) -> ir.Cluster:
    """The cluster of `Host/<scheme>/<name>/<port>`."""
    name = key.ref.name
    secure = key.ref.namespace == "https"
    try:
        ipaddress.ip_address(name)
        discovery, sni = ir.Discovery.STATIC, ""
    except ValueError:
        discovery, sni = ir.Discovery.DNS, name
    tls = ir.UpstreamTls(sni=sni, sans=(name,)) if secure else None
    endpoint = ir.Endpoint(name, key.port, hostname=sni)
    return ir.Cluster(key, discovery, ir.AppProtocol.HTTP1, tls, (endpoint,))
