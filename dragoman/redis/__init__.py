"""Redis, as the companion services speak with it: one server, the master that Sentinel names, or a cluster.

`url` says where it is, `connection` is one connection that writes once a turn, `link` keeps one alive,
`sentinel` looks masters up, `cluster` knows which master has which slot, `command` makes commands and
scripts, `client` runs scripts for coroutines.
The rate-limit service counts through links (`dragoman/ratelimit/stores/redis`), `dragoman authz` looks keys
up through the client.
"""
