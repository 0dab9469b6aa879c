"""HTTPPolicy (dragoman.dev/v1alpha1): what is done to requests and responses themselves."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dragoman.translators.gateway.models import meta, policy


@meta.shape
class Maintenance(policy.Section):
    """Every request is answered here, and none reaches a backend."""

    body: Annotated[str | None, Field(max_length=65536, description="The answer's body, JSON or text.")] = (
        None
    )


@meta.shape
class HttpPolicy(policy.Policy):
    """HTTPPolicySpec."""

    maintenance: Annotated[Maintenance | None, Field(description="Answers 503 instead of forwarding.")] = None
