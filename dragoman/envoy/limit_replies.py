"""What a request is told that a limit of Envoy's own denies, or that was to be counted and could not be.

Envoy's words for these are plain text or nothing; here they become JSON like the rate-limit service's own
answers. Called by `connection_manager`.
"""

from __future__ import annotations

from typing import Any, Final

from dragoman import proto
from dragoman.proto.envoy.extensions.access_loggers.filters.cel import v3 as cel
from dragoman.proto.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from dragoman.proto.google.protobuf import Struct

_BODIES: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    (
        "local_rate_limited",
        {
            "error": "rate_limit_exceeded",
            "message": "Too many requests. Try again later.",
            "retryAfter": '%TYPED_CEL(int(response.headers["retry-after"]))%',
        },
    ),
    (
        "rate_limiter_error",
        {"error": "rate_limit_unavailable", "message": "The request could not be counted. Try again later."},
    ),
)
"""Response code details, and the body."""


def write(target: hcm.LocalReplyConfig) -> None:
    """Adds these bodies."""
    for details, body in _BODIES:
        mapper = target.mappers.add()
        condition = mapper.filter.extension_filter
        condition.name = "cel"
        expression = f'response.code_details == "{details}"'
        condition.typed_config.CopyFrom(proto.pack_any(cel.ExpressionFilter(expression=expression)))
        mapper.body_format_override.json_format.CopyFrom(proto.from_dict(Struct, body))
