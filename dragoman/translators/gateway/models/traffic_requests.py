"""The parts of a TrafficPolicy that concern requests."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dragoman.translators.gateway.models import meta, policy


@meta.shape
class Timeouts(policy.Section):
    """How long everything may take. `0s` stands for no limit."""

    connect: Annotated[meta.Duration | None, Field(description="To connect to an endpoint. Default: 5s.")] = (
        None
    )
    request: Annotated[
        meta.Duration | None,
        Field(description="From the whole request to the whole response, tries and pauses included."),
    ] = None
    idle: Annotated[
        meta.Duration | None,
        Field(
            description="Until a connection to an endpoint without requests under way is closed. Default: 1h."
        ),
    ] = None
