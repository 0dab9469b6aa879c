"""Carries out Rollouts: looks at what canaries do, and says how far each one is.

`machine` decides, without I/O; `tally` and `prometheus` measure, `access_log` listens to Envoy, `state` keeps
it over restarts; `controller` drives them all. The runtime runs the controller; the translator gives routes
the weight that it says (`ir.rollouts`).
"""
