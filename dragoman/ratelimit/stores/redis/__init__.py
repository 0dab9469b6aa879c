"""Counts in Redis, shared by any number of services: one server, Sentinel or Cluster.

`store` counts through one link (dragoman/redis; Sentinel looks the master up), `cluster` through one for each
master, and `scripts` is what Redis runs. `cluster.connect` makes the store that a URL asks for.
"""
