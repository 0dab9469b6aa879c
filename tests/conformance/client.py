"""One request to a Gateway and the comparison of what came back, by the rules of the suite's round tripper.

A 200 from an echo backend tells what the backend saw; that is compared only for 200 without a redirect.
Comparison of header values joins repeated ones with a comma.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.events

from tests.conformance.cases import Expectation
from tests.harness import load


@dataclass(frozen=True, slots=True)
class Target:
    """Where a Gateway listens. `tls`: the client's context; `sni` the name asked for in the handshake."""

    address: str
    port: int = 80
    tls: ssl.SSLContext | None = None
    sni: str = ""


@dataclass(slots=True)
class Outcome:
    """What came back. `echo` is the backend's description of the request, where there is one."""

    status: int
    headers: dict[str, str]
    echo: Mapping[str, Any] = field(default_factory=dict)


async def send(target: Target, request: Mapping[str, Any]) -> Outcome:
    """Sends one request on a connection of its own. `OSError` and friends where no answer comes."""
    method = request.get("Method") or "GET"
    host = request.get("Host") or target.address
    headers = dict(request.get("Headers") or {})
    path = request.get("Path") or "/"
    if request.get("Protocol") == "H2C_PRIOR_KNOWLEDGE":
        reply = await asyncio.wait_for(_http2(target, method, host, path, headers), 10)
    else:
        reply = await asyncio.wait_for(_http1(target, method, host, path, headers), 10)
    try:
        described = json.loads(reply.body)
    except ValueError:
        described = {}
    return Outcome(reply.status, reply.headers, described if isinstance(described, dict) else {})


async def _http1(target: Target, method: str, host: str, path: str, headers: dict[str, str]) -> load.Reply:
    reader, writer = await asyncio.open_connection(
        target.address,
        target.port,
        ssl=target.tls,
        server_hostname=(target.sni or host) if target.tls else None,
    )
    try:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{k}: {v}" for k, v in headers.items())]
        if method in ("POST", "PUT", "PATCH"):
            lines.append("Content-Length: 0")
        writer.write("\r\n".join([*lines, "", ""]).encode())
        return await load.read_reply(reader, head=method == "HEAD")
    finally:
        writer.close()


async def _http2(target: Target, method: str, host: str, path: str, headers: dict[str, str]) -> load.Reply:
    reader, writer = await asyncio.open_connection(target.address, target.port)
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    connection.initiate_connection()
    pseudo = [(":method", method), (":scheme", "http"), (":authority", host), (":path", path)]
    connection.send_headers(1, [*pseudo, *((k.lower(), v) for k, v in headers.items())], end_stream=True)
    writer.write(connection.data_to_send())
    status, got, body, ended = 0, {}, b"", False
    try:
        while not ended:
            data = await reader.read(65536)
            if not data:
                raise ConnectionResetError("the HTTP/2 connection ended early")
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    got = {str(k): str(v) for k, v in event.headers}
                    status = int(got.pop(":status"))
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                    ended = True
            writer.write(connection.data_to_send())
        return load.Reply(status, got, body)
    finally:
        writer.close()


def differences(wanted: Expectation, got: Outcome, target: Target) -> list[str]:
    """In words, everything that is not as expected; empty when all is."""
    if got.status not in wanted.statuses:
        return [f"status {got.status}, expected {' or '.join(map(str, wanted.statuses))}"]
    found = list(_response(wanted.response, got.headers))
    if wanted.redirect is not None:
        found += _redirect(wanted, got, target)
    elif got.status == 200 and wanted.request.get("Method") != "OPTIONS":
        found += _backend(wanted, got.echo)
    return found


def _response(wanted: Mapping[str, Any], headers: Mapping[str, str]) -> Iterator[str]:
    squeeze = wanted.get("IgnoreWhitespace", False)

    def normal(text: str) -> str:
        return text.replace(" ", "") if squeeze else text

    for name, value in (wanted.get("Headers") or {}).items():
        if normal(headers.get(name.lower(), "(absent)")) != normal(value):
            yield f"response header {name}: {headers.get(name.lower())!r}, expected {value!r}"
    for name, values in (wanted.get("ValidHeaderValues") or {}).items():
        if normal(headers.get(name.lower(), "(absent)")) not in [normal(value) for value in values]:
            yield f"response header {name}: {headers.get(name.lower())!r}, expected one of {values}"
    for name in wanted.get("AbsentHeaders") or ():
        if name.lower() in headers:
            yield f"response header {name} is there: {headers[name.lower()]!r}"


def _redirect(wanted: Expectation, got: Outcome, target: Target) -> Iterator[str]:
    """What the expectation does not name stays as it was (scheme, port, path); the host may be any."""
    assert wanted.redirect is not None
    location = urlsplit(got.headers.get("location", ""))
    scheme = wanted.redirect.get("Scheme") or ("https" if target.tls else "http")
    if location.scheme != scheme:
        yield f"redirect to scheme {location.scheme!r}, expected {scheme!r}"
    host = wanted.redirect.get("Host")
    if host and location.hostname != host:
        yield f"redirect to host {location.hostname!r}, expected {host!r}"
    known = {"http": 80, "https": 443}
    port = int(wanted.redirect.get("Port") or target.port)
    if (location.port or known.get(location.scheme)) != port:
        yield f"redirect to port {location.port}, expected {port}"
    path = wanted.redirect.get("Path") or urlsplit(wanted.request.get("Path", "/")).path
    if location.path != path:
        yield f"redirect to path {location.path!r}, expected {path!r}"


def _backend(wanted: Expectation, echo: Mapping[str, Any]) -> Iterator[str]:
    if not echo:
        yield "no description of the request in the answer"
        return
    method = wanted.seen.get("Method") or "GET"
    if echo["method"] != method:
        yield f"backend saw method {echo['method']}, expected {method}"
    host = wanted.seen.get("Host")
    if host and echo["host"] != host:
        yield f"backend saw host {echo['host']!r}, expected {host!r}"
    path = wanted.seen.get("Path")
    if path and echo["path"] != path:
        yield f"backend saw path {echo['path']!r}, expected {path!r}"
    if wanted.namespace and echo["namespace"] != wanted.namespace:
        yield f"answered from namespace {echo['namespace']}, expected {wanted.namespace}"
    if not echo["pod"].startswith(wanted.backend):
        yield f"answered by {echo['pod']}, expected {wanted.backend}"
    asked = echo.get("tls", {}).get("serverName")
    if wanted.seen.get("SNI", asked) != asked:
        yield f"backend was asked for server name {asked!r}, expected {wanted.seen['SNI']!r}"
    saw = {name.lower(): ",".join(values) for name, values in echo["headers"].items()}
    for name, value in (wanted.seen.get("Headers") or {}).items():
        if saw.get(name.lower()) != value:
            yield f"backend saw header {name}: {saw.get(name.lower())!r}, expected {value!r}"
    for name in wanted.unseen:
        if name.lower() in saw:
            yield f"backend saw header {name}: {saw[name.lower()]!r}, expected none"
