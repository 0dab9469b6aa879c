"""Who may pass, where that must be looked up: tokens at their issuer (RFC 7662), API keys in Redis.

Envoy asks by `ext_authz` (gRPC). `credentials` finds the token or key in a request, `claims` judges what an
issuer answers, `cache` remembers it, `introspection` asks once for many, `client` speaks with issuers, `keys`
with Redis, `clients` has the Consumers whom keys may name; `answers` makes the response, `service` puts it
together over bytes, `server` listens. `dragoman run` starts it where a policy needs it
(dragoman/runtime/authz.py), `dragoman authz` runs it alone.
"""
