"""ClientPolicy (dragoman.dev/v1alpha1): how clients are dealt with, at Gateways and listeners.

TLS (`client_tls`), requests (`client_http`), whose address they come from (`client_addresses`).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dragoman.translators.gateway.models import client_addresses, client_http, client_tls, meta, policy


@meta.shape
class ClientPolicy(policy.Policy):
    """ClientPolicySpec."""

    tls: Annotated[client_tls.Tls | None, Field(description="How connections are encrypted.")] = None
    client_validation: Annotated[
        client_tls.ClientValidation | None, Field(description="Which certificates clients show.")
    ] = None
    forwarded_certificate: Annotated[
        client_tls.ForwardedCertificate | None,
        Field(description="What backends are told of a client's certificate."),
    ] = None
    client_address: Annotated[
        client_addresses.ClientAddress | None, Field(description="Where the client's address is taken from.")
    ] = None
    proxy_protocol: Annotated[
        client_addresses.ProxyProtocol | None,
        Field(description="The client's address at the beginning of each connection."),
    ] = None
    headers: Annotated[client_http.Headers | None, Field(description="Limits of request headers.")] = None
    early_headers: Annotated[
        client_http.EarlyHeaders | None,
        Field(description="Changes of request headers before a route is looked for."),
    ] = None
    paths: Annotated[client_http.Paths | None, Field(description="How a path is made plain.")] = None
    timeouts: Annotated[client_http.Timeouts | None, Field(description="How long clients may take.")] = None
    connections: Annotated[client_http.Connections | None, Field(description="Limits of connections.")] = None
    http1: Annotated[client_http.Http1 | None, Field(description="HTTP/1.0 and HTTP/1.1.")] = None
    http2: Annotated[client_http.Http2 | None, Field(description="HTTP/2.")] = None
    http3: Annotated[client_http.Http3 | None, Field(description="HTTP/3.")] = None
