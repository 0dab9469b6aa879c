"""Counts in Redis, shared by any number of services: one server, Sentinel or Cluster.

`url` says where it is, `connection` is one connection that writes once a turn, `link` keeps one alive,
`store` counts through one link (Sentinel looks the master up), `cluster` through one for each master, and
`scripts` is what Redis runs. `store.connect` makes the store that a URL asks for.
"""
