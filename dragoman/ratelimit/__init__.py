"""The rate-limit service: what Envoy's `ratelimit` filter asks, answered from memory or Redis.

`algorithms/` are pure arithmetic, `rules` says which limit a descriptor hits, `stores/` keep the counts,
`service` speaks `ShouldRateLimit` over bytes, `goconfig` reads envoyproxy/ratelimit's files, `transport/`
carries calls, `rlqs/` assigns quotas. `dragoman ratelimit` (dragoman/cli/ratelimit.py) wires them.
"""
