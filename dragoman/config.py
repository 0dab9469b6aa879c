"""Settings: a YAML file, `DRAGOMAN_*` environment variables, and flags, in that order of precedence from
low to high.

Read once at start by `runtime` and the command line. Every field has a default that is safe on a laptop:
listeners bind to loopback, nothing is open to the network unless told otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, validate_default=False)


class NodeRule(_Section):
    """One line of the table that says which node gets which group. The first rule whose every given
    condition holds wins.

    `id`, `cluster`, `san` and `metadata` values are shell-style patterns (`edge-*`). `gateways` are
    `namespace/name`, `namespace/*` or `*`; empty takes them from the node (metadata `gateways` or
    `gateway`, else its cluster). `secrets` False: the group gets no certificates over SDS.
    """

    id: str = ""
    cluster: str = ""
    san: str = ""
    metadata: dict[str, str] = {}
    gateways: tuple[str, ...] = ()
    secrets: bool = True
    reject: bool = False


class XdsTls(_Section):
    """TLS on the xDS port; with `client_ca` clients must show a certificate of it. Files are read again
    when they change."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


class Xds(_Section):
    """The xDS server. Durations in seconds, sizes in bytes."""

    address: str = "127.0.0.1"
    port: int = 18000
    tls: XdsTls | None = None
    nodes: tuple[NodeRule, ...] = ()
    keepalive_time: float = 30.0
    keepalive_timeout: float = 10.0
    max_connection_age: float = 0.0
    max_connection_age_grace: float = 30.0
    max_message: int = 16 * 1024 * 1024
    warming_timeout: float = 20.0
    drain: float = 2.0
    group_grace: float = 60.0


class Gateways(_Section):
    """Where Envoy listens for Gateways that name no address. `per-gateway`: each gets a loopback address
    of its own (127.x.y.z)."""

    address: str = "127.0.0.1"
    addresses: Literal["shared", "per-gateway"] = "shared"
    controller: str = "dragoman.dev/gateway-controller"


class Admin(_Section):
    address: str = "127.0.0.1"
    port: int = 18001


class Log(_Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Batch(_Section):
    """`window`: how long changes may be collected while one is in flight; `slice`: CPU seconds before the
    event loop gets its turn."""

    window: float = 0.5
    slice: float = 0.02


class Settings(_Section):
    xds: Xds = Xds()
    gateways: Gateways = Gateways()
    admin: Admin = Admin()
    log: Log = Log()
    batch: Batch = Batch()


def load(
    path: Path | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings from file, environment (`DRAGOMAN_XDS_PORT=19000`, `__` never needed) and flags
    (`{"xds.port": 19000}`).

    Raises `ValueError` with one line per mistake.
    """
    data: dict[str, Any] = {}
    if path is not None:
        loaded = yaml.safe_load(path.read_text()) or {}
        if not isinstance(loaded, dict):
            raise ValueError(f"{path}: settings are a mapping")
        data = loaded
    for section, model in Settings.model_fields.items():
        for field in model.annotation.model_fields if model.annotation else ():
            value = environment.get(f"DRAGOMAN_{section}_{field}".upper())
            if value is not None:
                data.setdefault(section, {})[field] = yaml.safe_load(value)
    for dotted, value in (flags or {}).items():
        if value is None:
            continue
        section, field = dotted.split(".")
        data.setdefault(section, {})[field] = value
    try:
        return Settings.model_validate(data)
    except pydantic.ValidationError as failure:
        lines = [f"settings: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in failure.errors()]
        raise ValueError("\n".join(lines)) from None
