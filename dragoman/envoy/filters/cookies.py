"""Cookies that limits count by: into dynamic metadata, from where a descriptor can take them."""

from __future__ import annotations

from dragoman.envoy import ratelimits
from dragoman.envoy.filters import base
from dragoman.ir import model as ir, ratelimit
from dragoman.proto.envoy.extensions.filters.http.header_to_metadata import v3 as header_to_metadata


class Cookies:
    """`envoy.filters.http.header_to_metadata`."""

    name = "envoy.filters.http.header_to_metadata"
    disabled = True

    def config(self) -> base.Config:
        return base.config(header_to_metadata.Config())

    def per_route(self, route: ir.Route) -> base.Config | None:
        names = dict.fromkeys(
            part.name for limit in route.limits for part in limit.key if part.part is ratelimit.Part.COOKIE
        )
        if not names:
            return None
        message = header_to_metadata.Config()
        for name in names:
            rule = message.request_rules.add(cookie=name)
            rule.on_header_present.metadata_namespace = ratelimits.COOKIES
            rule.on_header_present.key = name
        return base.config(message)


FILTER = Cookies()
