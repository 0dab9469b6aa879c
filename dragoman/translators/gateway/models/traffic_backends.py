"""The parts of a TrafficPolicy that concern backends."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dragoman.translators.gateway.models import meta, policy

Limit = Annotated[int, Field(strict=True, ge=0, le=2**32 - 1)]


@meta.shape
class CircuitBreaker(policy.Section):
    """How much may be under way at once from one Envoy to one backend; more is answered 503 at once. Without
    it nothing is limited."""

    max_connections: Annotated[Limit | None, Field(description="Connections.")] = None
    max_requests: Annotated[Limit | None, Field(description="Requests under way.")] = None
