"""Pods: what the containers of a Deployment serve, told from image and environment.

The image `echo-basic` is several servers in one; its environment says which. `sockets` opens what one pod
listens on.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from tests.harness import backend, echo, streams

Body = dict[str, Any]
Contexts = Callable[[str, bool], ssl.SSLContext]
"""Of a Secret's name, and whether clients must show a certificate: the server's side of TLS."""

_DEFAULT_SECRET = "tls-checks-certificate"


def serves(deployment: Body) -> bool:
    """Whether the image is one that is known here."""
    image = str(_container(deployment)["image"])
    return "echo-basic" in image or "coredns" in image


def identity(deployment: Body, replica: int) -> echo.Identity:
    meta = deployment["metadata"]
    app = deployment["spec"]["template"]["metadata"]["labels"]["app"]
    name = meta["name"]
    return echo.Identity(
        f"{name}-{replica}", _environment(deployment).get("SERVICE_NAME", app), meta["namespace"]
    )


async def sockets(
    stack: AsyncExitStack, deployment: Body, pod: echo.Echo, address: str, contexts: Contexts
) -> None:
    """Opens what the pod listens on; `stack` closes it."""
    environment = _environment(deployment)
    who = pod.identity
    secret = _secret(deployment)
    if "coredns" in str(_container(deployment)["image"]):
        await stack.enter_async_context(streams.udp(who, address, 53, names=True))
        return
    if "TCP_ECHO_SERVER" in environment:
        await stack.enter_async_context(streams.tcp(who, address, 3000))
        if secret:
            await stack.enter_async_context(streams.tcp(who, address, 8443, contexts(secret, False)))
        return
    if "UDP_ECHO_SERVER" in environment:
        await stack.enter_async_context(streams.udp(who, address, 8080))
        return
    if "GRPC_ECHO_SERVER" in environment:
        await stack.enter_async_context(streams.grpc_echo(who, address, 3000))
        return
    tls = contexts(secret or _DEFAULT_SECRET, "TLS_CLIENT_CACERTS" in environment)
    for made in (
        backend.Backend(pod, address=address, port=3000),
        backend.Backend(pod, address=address, port=3001, protocol="h2c"),
        backend.Backend(pod, address=address, port=8443, tls=tls),
    ):
        await stack.enter_async_context(made)


def _container(deployment: Body) -> Mapping[str, Any]:
    found: Mapping[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


def _environment(deployment: Body) -> dict[str, str]:
    return {item["name"]: item.get("value", "") for item in _container(deployment).get("env", ())}


def _secret(deployment: Body) -> str | None:
    """The Secret that is mounted, if one is."""
    volumes = deployment["spec"]["template"]["spec"].get("volumes", ())
    return next((str(v["secret"]["secretName"]) for v in volumes if "secret" in v), None)
