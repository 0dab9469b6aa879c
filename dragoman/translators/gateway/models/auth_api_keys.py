"""API keys in an AuthPolicy."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from dragoman.translators.gateway.models import consumer, meta, policy

Token = Annotated[str, Field(min_length=1, max_length=36, pattern=r"^[A-Za-z0-9_.~-]+$")]
"""Stands twice in a regular expression (`envoy.filters.credentials`), and Envoy takes no large ones."""


@meta.shape
class SecretReference:
    """A Secret of the policy's namespace."""

    name: Annotated[meta.ObjectName, Field(description="Its name.")]


@meta.shape
class KeySources(policy.Section):
    """Where a request may hold an API key."""

    headers: Annotated[
        tuple[meta.HeaderName, ...] | None,
        Field(
            max_length=8,
            description="Headers that may hold the key. Default, where no source is said: `X-API-Key`."
            " `Authorization` takes it bare or after `Bearer `.",
        ),
    ] = None
    query_params: Annotated[
        tuple[Token, ...] | None, Field(max_length=8, description="Query parameters that may hold the key.")
    ] = None
    cookies: Annotated[
        tuple[Token, ...] | None, Field(max_length=8, description="Cookies that may hold the key.")
    ] = None


@meta.shape
class ApiKeys(KeySources):
    """Requests bring an API key: one of the Consumers of the policy's namespace, or of an entry of a Secret.
    The backend does not get the key, but `X-Consumer-ID`, `X-Consumer-Groups` and `X-Consumer-Plan`."""

    WHOLE: ClassVar[bool] = True

    optional: Annotated[
        meta.Bool | None,
        Field(description="`true`: requests without a key pass too; a wrong key never does. Default: false."),
    ] = None
    consumers: Annotated[
        tuple[consumer.Name, ...] | None,
        Field(max_length=64, description="Consumers that may pass, by name. Default, without `groups`: all."),
    ] = None
    groups: Annotated[
        tuple[consumer.Name, ...] | None,
        Field(max_length=64, description="Consumers in one of these groups may pass."),
    ] = None
    secret_refs: Annotated[
        tuple[SecretReference, ...] | None,
        Field(
            max_length=16,
            description="Secrets of which every entry is a client: its name, and its key. They pass besides"
            " the Consumers.",
        ),
    ] = None
