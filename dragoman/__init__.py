"""Dragoman, a control plane for Envoy.

People write gateway resources; Dragoman translates them into Envoy's configuration and serves it over xDS.
This module is the public API; importing it is cheap and imports no protobuf.
"""

__version__ = "0.1.0"
