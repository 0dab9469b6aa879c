"""Which of its statistics an Envoy keeps: `stats_config` of the bootstrap.

By itself Envoy has some two hundred series for each cluster, and needs as much memory for them as for all
the rest (5,000 services: 976,000 series). Here nothing is kept by default whose number grows with routes,
services or certificates: some 150 series, and 200 more for each listener. More has to be asked for: the
statistics of clusters by `clusters`, those of limits, outlier detection and health checks by the policy that
sets them. Called by `bootstrap`; docs/scale.md lists what there is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

Json = dict[str, Any]

_PREFIXES: Final = (
    *("server.", "cluster_manager.", "listener_manager.", "control_plane.", "overload."),
    "cache.event.",  # hits and misses; made where something is cached
)

_PARTS: Final = (
    # Made for clusters whose policies ask for it: what is left of the limits, who is left alone or not well.
    *(".circuit_breakers.default.remaining_", ".outlier_detection.ejections_", ".health_check."),
)

_REGEXES: Final = (
    # By listener; `a` is the admin interface's and those of Envoy's own calls.
    r"http\.[^a].*\.downstream_(cx|rq)_.*",
    r"(tcp|udp)\..*\.downstream_(cx|sess)_.*",
    # A listener's name ends with its port. `.worker_3.downstream_cx_total` is the same again by worker.
    r"listener\..*[^r]_[0-9]+\.(downstream_cx_.*|ssl\..*)",
    # Not of connection managers, of which each TLS host has one.
    r"extension_config_discovery\.http_filter\..*\.update_rejected",
    # Made for clusters whose requests are limited: denials, and what could not be counted and was refused or
    # let pass.
    r"cluster\..*\.ratelimit\.(over_limit|error|failure_mode_allowed)",
    r"local\.http_local_rate_limit\.rate_limited",
)

_CLUSTER: Final = (
    # What a dashboard shows of a cluster. Those of requests are made at the first request.
    *("upstream_rq_total", "upstream_rq_[2345]xx", "upstream_rq_time", "upstream_rq_active"),
    *("upstream_rq_retry", "upstream_rq_timeout", "upstream_rq_pending_overflow"),
    *("upstream_cx_active", "upstream_cx_connect_fail", "upstream_cx_overflow"),
    *("membership_healthy", "membership_total"),
)

_OURS: Final = "[^/]+"
"""Names of clusters that are no object's: the control plane, the companion services. They have no slash."""


def config(clusters: Iterable[str] = ()) -> Json:
    """`clusters`: shell-style patterns of the clusters' names (`Service/shop/*`) whose statistics are kept as
    well: two of each, and ten more and a histogram of each that is used."""
    names = [_OURS, *map(_pattern, clusters)]
    kept = "|".join(_CLUSTER)
    patterns = [
        *({"prefix": text} for text in _PREFIXES),
        *({"contains": text} for text in _PARTS),
        *({"safe_regex": {"regex": text}} for text in _REGEXES),
        *({"safe_regex": {"regex": rf"cluster\.{name}\.({kept})"}} for name in names),
    ]
    return {"stats_matcher": {"inclusion_list": {"patterns": patterns}}}


def _pattern(glob: str) -> str:
    """As a regular expression: `*` is any text, `?` any character. Envoy writes `_` for each colon."""
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in glob)
    return "".join(parts).replace(":", "_")
