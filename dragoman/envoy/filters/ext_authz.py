"""Services that are asked about each request (Envoy's `ext_authz`), by gRPC or HTTP.

There are two of the filter, one that fails closed and one that fails open: which of them a route wakes is how
it says so, since Envoy lets no route say it otherwise. All else is said by the route. What stands in the
connection manager names a cluster that is not there: a request that met it would be refused. Which headers a
service is told cannot be said by a route either, so it is told all of them (a list in the connection manager
would break services asked by HTTP, which then miss `:path`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Final

from dragoman.envoy import durations, headers, naming
from dragoman.envoy.filters import base
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.extensions.filters.http.ext_authz import v3 as ext_authz
from dragoman.proto.envoy.type.matcher import v3 as matcher

DOWN: Final = 503
"""The answer while a service cannot be asked: it is not the client's fault."""

_ALWAYS: Final = ("content-type", "www-authenticate", "location")
"""What a refusal needs in order to be understood, whatever list there is."""


class ExtAuthz:
    """`envoy.filters.http.ext_authz`, and the same that fails open under a name of its own."""

    disabled = True

    def __init__(self, name: str, fail_open: bool) -> None:
        self.name = name
        self._fail_open = fail_open

    def config(self) -> base.Config:
        message = ext_authz.ExtAuthz(
            transport_api_version=core.V3, failure_mode_allow=self._fail_open, stat_prefix="external"
        )
        message.grpc_service.envoy_grpc.cluster_name = naming.INVALID_CLUSTER
        # Bodies need not be UTF-8, which a `string` of protobuf has to be. No route can say so; how many
        # bytes (none, mostly) it can.
        message.with_request_body.max_request_bytes = 1
        message.with_request_body.allow_partial_message = True
        message.with_request_body.pack_as_bytes = True
        message.status_on_error.code = DOWN  # type: ignore[assignment]
        return base.config(message)

    def per_route(self, route: ir.Route) -> base.Config | None:
        external = route.auth.external if route.auth is not None else None
        if external is None or external.fail_open != self._fail_open:
            return None
        return _per_route(external)


FILTER = ExtAuthz("envoy.filters.http.ext_authz", False)
OPEN = ExtAuthz("dragoman.ext_authz_open", True)


@functools.lru_cache(maxsize=4096)
def _per_route(wanted: ir.External) -> base.Config:
    message = ext_authz.ExtAuthzPerRoute()
    settings = message.check_settings
    if wanted.http:
        _http(settings.http_service, wanted)
    else:
        _grpc(settings.grpc_service, wanted)
        settings.context_extensions.update(wanted.context)
    if wanted.body:
        settings.with_request_body.max_request_bytes = wanted.body
        settings.with_request_body.allow_partial_message = True
    else:
        settings.disable_request_body_buffering = True
    return base.config(message)


def _grpc(target: core.GrpcService, wanted: ir.External) -> None:
    target.envoy_grpc.cluster_name = naming.cluster(wanted.cluster)
    durations.assign(target.timeout, wanted.timeout)
    for name, value in wanted.headers:
        target.initial_metadata.add(key=name, value=headers.literal(value))


def _http(target: ext_authz.HttpService, wanted: ir.External) -> None:
    target.server_uri.cluster = naming.cluster(wanted.cluster)
    target.server_uri.uri = f"http://{wanted.cluster.ref.name}"
    durations.assign(target.server_uri.timeout, wanted.timeout)
    target.path_prefix = wanted.path
    for name, value in wanted.headers:
        target.authorization_request.headers_to_add.add(key=name, value=headers.literal(value))
    answer = target.authorization_response
    _names(answer.allowed_upstream_headers, wanted.to_backend)
    if wanted.to_client is not None:
        _names(answer.allowed_client_headers, (*wanted.to_client, *_ALWAYS))
    _names(answer.allowed_client_headers_on_success, wanted.to_client_on_success)


def _names(target: matcher.ListStringMatcher, names: Iterable[str]) -> None:
    for name in dict.fromkeys(names):
        target.patterns.add(exact=name, ignore_case=True)
