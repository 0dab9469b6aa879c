"""This program's graph: from objects to what each node group's Envoys get.

    objects -> translator -> gateways, routes, clusters, endpoints, secrets     (IR, `translators`)
    gateways -> placements -> ports -> listeners                                (per group, `assembly`)
    routes -> encoded -> parts -> hosts -> buckets -> tables                    (per group, bytes kept at
    each step) parts -> used clusters -> CDS, EDS;  listeners, clusters -> SDS

A node group is built when the first stream (or command) asks for it. `Pipeline` is what the runtime and the
command line hold: documents go in with `apply`, `commit` brings everything up to date, and the live views
of the active groups get exactly the resources that changed.
"""

from dragoman.graph.pipeline.pipeline import GroupIR, Pipeline

__all__ = ["GroupIR", "Pipeline"]
