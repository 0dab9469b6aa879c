"""Addresses in Envoy's form: IP address and port, host name and port, or a unix socket."""

from __future__ import annotations

from dragoman.proto.envoy.config.core import v3 as core


def write(target: core.Address, address: str, port: int) -> None:
    """`address` is an IP address, a host name, or the absolute path of a unix socket (without port)."""
    if address.startswith("/"):
        target.pipe.path = address
    else:
        socket = target.socket_address
        socket.address = address
        socket.port_value = port


def write_network(target: core.CidrRange, network: str) -> None:
    """`network` as `10.0.0.0/8`."""
    target.address_prefix, _, length = network.partition("/")
    target.prefix_len.value = int(length)
