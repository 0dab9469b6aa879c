"""Where companion services are, as settings write it: `HOST:PORT` or `unix:/PATH`.

A list of them becomes one cluster of Envoy, and `check` refuses what such a cluster could not hold. Called
by `config`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

PATTERN: Final = r"^(unix:/[^\s]+|(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):[1-9][0-9]{0,4})$"
_SOCKET: Final = "unix:"
_LONGEST: Final = 107
"""Bytes of a socket's path; Envoy refuses the cluster for a longer one."""


def split(text: str) -> tuple[str, int]:
    """Address and port; of a socket `unix:/PATH` and 0."""
    if text.startswith(_SOCKET):
        return text, 0
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def check(name: str, endpoints: Sequence[str]) -> None:
    """Raises ValueError for what Envoy would refuse or misunderstand. `name` is the setting's."""
    kinds = set()
    for one in endpoints:
        address, port = split(one)
        kind = _kind(address)
        kinds.add(kind)
        if one.startswith("[") and kind == "name":
            raise ValueError(f"`{name}`: `{one}` should have an IPv6 address within the brackets")
        if kind == "socket":
            if len(address.removeprefix(_SOCKET).encode()) > _LONGEST:
                raise ValueError(f"`{name}`: the path of a socket should have {_LONGEST} bytes at most")
        elif port > 65535:
            raise ValueError(f"`{name}`: the port of `{one}` should be 65535 at most")
    # Names make it a cluster that DNS fills; Envoy would look the socket up there, under the empty name.
    if {"socket", "name"} <= kinds:
        raise ValueError(f"`{name}` should not have sockets beside host names; IP addresses go with either")


def _kind(address: str) -> str:
    if address.startswith(_SOCKET):
        return "socket"
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return "name"
    return "address"
