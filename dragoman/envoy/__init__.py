"""IR into Envoy's bytes, and Envoy itself: bootstrap, process, admin interface, validation.

The pipeline calls the encoders: `routes`, `shape`, `listeners`, `clusters`, `endpoints`, `secrets`;
`naming` makes every name that Envoy sees. Here alone (and for its own protocol in `xds/`) are Envoy's
messages known.
"""
