"""What protects an Envoy as a whole, in its bootstrap: a limit of connections, and of memory in steps.

Near the limit of memory it ends idle connections sooner, then gives free memory back and keeps no HTTP/1
connection open, then refuses new requests (503), and at last new connections. Limits of one listener are a
ClientPolicy's (`connections.max`). Called by `bootstrap.py`.
"""

from __future__ import annotations

from typing import Any, Final

Json = dict[str, Any]

_TYPE: Final = "type.googleapis.com/"
_MONITOR: Final = "envoy.resource_monitors."
_CONFIG: Final = _TYPE + "envoy.extensions.resource_monitors."
_ACTION: Final = "envoy.overload_actions."
_HEAP: Final = _MONITOR + "fixed_heap"
_LEAST: Final = 10  # percent of a timeout that is left


def manager(connections: int, heap: int) -> Json:
    """`connections`: at once, over all listeners. `heap` in bytes; 0: no limit of memory."""
    made: Json = {
        "resource_monitors": [
            {
                "name": _MONITOR + "global_downstream_max_connections",
                "typed_config": {
                    "@type": _CONFIG + "downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": connections,
                },
            }
        ]
    }
    if heap:
        made["refresh_interval"] = "0.25s"
        made["resource_monitors"].append(
            {
                "name": _HEAP,
                "typed_config": {
                    "@type": _CONFIG + "fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": heap,
                },
            }
        )
        made["actions"] = [
            _sooner(0.85, 0.95),
            _at("shrink_heap", 0.95),
            _at("disable_http_keepalive", 0.95),
            _at("stop_accepting_requests", 0.98),
            _at("stop_accepting_connections", 0.99),
        ]
    return made


def _at(name: str, threshold: float) -> Json:
    return {
        "name": _ACTION + name,
        "triggers": [{"name": _HEAP, "threshold": {"value": threshold}}],
    }


def _sooner(start: float, full: float) -> Json:
    """Idle connections and streams end sooner, the more so the less memory there is."""
    timers = ("HTTP_DOWNSTREAM_CONNECTION_IDLE", "HTTP_DOWNSTREAM_STREAM_IDLE")
    return {
        "name": _ACTION + "reduce_timeouts",
        "triggers": [{"name": _HEAP, "scaled": {"scaling_threshold": start, "saturation_threshold": full}}],
        "typed_config": {
            "@type": _TYPE + "envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
            "timer_scale_factors": [{"timer": timer, "min_scale": {"value": _LEAST}} for timer in timers],
        },
    }
