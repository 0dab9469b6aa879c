"""Consumer (dragoman.dev/v1alpha1): one client, with its credentials, its groups and its plan.

AuthPolicies of the same namespace with `apiKeys` let it in; backends learn its name, groups and plan.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dragoman.translators.gateway.models import meta

Name = Annotated[
    str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?$")
]


@meta.shape
class KeyReference:
    """Keys in a Secret of the Consumer's namespace."""

    name: Annotated[meta.ObjectName, Field(description="The Secret.")]
    key: Annotated[
        str | None,
        Field(min_length=1, max_length=253, description="Its entry. Default: every entry is a key."),
    ] = None


@meta.shape
class Consumer:
    """ConsumerSpec."""

    api_keys: Annotated[
        tuple[KeyReference, ...],
        Field(
            max_length=16, description="API keys. All of them hold: add the new one, later drop the old one."
        ),
    ] = ()
    groups: Annotated[
        tuple[Name, ...], Field(max_length=32, description="Groups that policies and rules speak of.")
    ] = ()
    plan: Annotated[Name | None, Field(description="The plan, told to backends.")] = None
