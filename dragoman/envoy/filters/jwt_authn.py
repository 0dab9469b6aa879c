"""Tokens (JWT, RFC 7519): who issued them, and whether they are still good.

The issuers' keys are fetched by the control plane and stand in the shared configuration, so that Envoy
depends on no issuer being up, and a request never waits for keys. A route names a requirement by a hash of
what it asks for.

Envoy strips the headers that claims go to from every request, on routes without the filter as well.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Hashable, Iterable
from typing import Final, cast

from dragoman import proto, resource
from dragoman.envoy.filters import base
from dragoman.ir import model as ir
from dragoman.proto.envoy.extensions.filters.http.jwt_authn import v3 as jwt_authn

PAYLOAD: Final = "payload"
"""The key of a token's claims in the filter's dynamic metadata."""


REMEMBERED: Final = 1000
"""Good tokens of one issuer that each worker remembers."""


class JwtAuthn:
    """`envoy.filters.http.jwt_authn`."""

    name = "envoy.filters.http.jwt_authn"
    disabled = True
    sensitive = False
    type_url = proto.type_url("envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication")

    def per_route(self, route: ir.Route) -> base.Config | None:
        if route.auth is None or route.auth.jwt is None:
            return None
        return base.config(jwt_authn.PerRouteConfig(requirement_name=_name(route.auth.jwt)))

    def demands(self, route: ir.Route) -> Iterable[ir.Jwt]:
        return (route.auth.jwt,) if route.auth is not None and route.auth.jwt is not None else ()

    def slot(self, part: Hashable) -> Hashable:
        return part

    def shared(self, demands: Collection[Hashable]) -> base.Config:
        message = jwt_authn.JwtAuthentication()
        wanted = sorted((cast(ir.Jwt, one) for one in demands), key=_name)
        for one in wanted:
            for provider in one.providers:
                # What several routes ask for stands there once: lists in it would grow.
                message.providers[_provider_name(provider)].ParseFromString(_provider(provider))
            _require(message.requirement_map[_name(one)], one)
        return base.config(message)


FILTER = JwtAuthn()


def _require(target: jwt_authn.JwtRequirement, wanted: ir.Jwt) -> None:
    names = [_provider_name(provider) for provider in wanted.providers]
    if len(names) == 1 and not wanted.optional:
        target.provider_name = names[0]
        return
    for name in names:
        target.requires_any.requirements.add().provider_name = name
    if wanted.optional:
        target.requires_any.requirements.add().allow_missing.SetInParent()


@functools.lru_cache(maxsize=4096)
def _name(wanted: ir.Jwt) -> str:
    """A requirement's name says what it asks for: two routes that ask the same share it."""
    parts = [_provider(provider) for provider in wanted.providers]
    return resource.digest(*parts, b"optional" if wanted.optional else b"")


@functools.lru_cache(maxsize=4096)
def _provider_name(provider: ir.JwtProvider) -> str:
    return resource.digest(_provider(provider))


@functools.lru_cache(maxsize=4096)
def _provider(wanted: ir.JwtProvider) -> bytes:
    message = jwt_authn.JwtProvider(
        issuer=wanted.issuer,
        audiences=wanted.audiences,
        clock_skew_seconds=max(wanted.clock_skew, 1),  # of none Envoy makes a minute
        require_expiration=wanted.require_expiration,
        # Of a query Envoy would not take the token alone: there `spent` does it.
        forward=wanted.forward or bool(wanted.places.params),
        forward_payload_header=wanted.payload_header,
        payload_in_metadata=PAYLOAD,
        from_params=wanted.params,
        from_cookies=wanted.cookies,
        # A token that is good stays so until it expires: its signature is looked at once for each worker.
        jwt_cache_config=jwt_authn.JwtCacheConfig(jwt_cache_size=REMEMBERED),
        # A route is chosen once: filters are woken for that one, so another one's would be passed by.
        clear_route_cache=False,
    )
    message.local_jwks.inline_string = wanted.jwks
    for name, prefix in wanted.headers:
        message.from_headers.add(name=name, value_prefix=prefix)
    for header, claim in wanted.claims:
        message.claim_to_headers.add(header_name=header, claim_name=claim)
    message.normalize_payload_in_metadata.space_delimited_claims.append("scope")
    return proto.serialize(message)
