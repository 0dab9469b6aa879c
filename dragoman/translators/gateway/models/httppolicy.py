"""HTTPPolicy (dragoman.dev/v1alpha1): what is done to requests and responses themselves.

docs/http-policy.md says how the sections play together.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dragoman.translators.gateway.models import (
    httppolicy_bodies as bodies,
    httppolicy_cache as caching,
    httppolicy_headers as headers,
    httppolicy_responses as responses,
    meta,
    policy,
)


@meta.shape
class HttpPolicy(policy.Policy):
    """HTTPPolicySpec."""

    maintenance: Annotated[
        responses.Maintenance | None, Field(description="Answers 503 instead of forwarding.")
    ] = None
    direct_response: Annotated[
        responses.DirectResponse | None, Field(description="Answers itself instead of forwarding.")
    ] = None
    response_override: Annotated[
        responses.ResponseOverride | None, Field(description="Other responses in place of some, by status.")
    ] = None
    rewrite: Annotated[headers.Rewrite | None, Field(description="Another path or host for backends.")] = None
    request_headers: Annotated[
        headers.HeaderChanges | None, Field(description="Changes of the request's headers.")
    ] = None
    response_headers: Annotated[
        headers.HeaderChanges | None, Field(description="Changes of the response's headers.")
    ] = None
    query_parameters: Annotated[
        headers.QueryParameters | None, Field(description="Changes of the request's query.")
    ] = None
    request_body: Annotated[bodies.RequestBody | None, Field(description="Limits of requests' bodies.")] = (
        None
    )
    compression: Annotated[bodies.Compression | None, Field(description="Compression of responses.")] = None
    decompression: Annotated[bodies.Decompression | None, Field(description="Decompression of requests.")] = (
        None
    )
    cache: Annotated[
        caching.Cache | None, Field(description="Answers from the gateway's memory instead of the backend.")
    ] = None
