"""What the tests with a real Envoy, the conformance replay and the benchmarks share.

Backends that answer like the conformance suite's echo server, a load generator that counts every answer that
is not as expected, an Envoy process, a control plane process, certificates, and builders of manifests.
Nothing here is imported by Dragoman.
"""
