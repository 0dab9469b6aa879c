"""RLQS, `envoy.service.rate_limit_quota.v3.RateLimitQuotaService`: limits that Envoy keeps by itself.

Envoy reports what it let pass and what it denied, every five seconds; it gets a token bucket to keep until it
hears otherwise. No call per request, and no exact count. `shares` is the arithmetic of a limit that is
divided, `books` the state machine (reports in, assignments out, no clock and no I/O), `service` the streams.
"""
