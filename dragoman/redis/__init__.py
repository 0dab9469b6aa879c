"""Redis, as the companion services speak with it: one server, or the master that Sentinel names.

`url` says where it is, `connection` is one connection that writes once a turn, `link` keeps one alive,
`sentinel` looks masters up, `command` makes commands and scripts, `client` runs scripts for coroutines.
The rate-limit service counts through links (`dragoman/ratelimit/stores/redis`), `dragoman authz` looks keys
up through the client.
"""
