"""HTTPPolicy's `cache`: which answers the gateway keeps, under which key, and for whom.

Bounds and patterns are such that whatever passes is something that Envoy takes: names go into regular
expressions and format strings there.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from dragoman.translators.gateway.models import meta, policy

_Header = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9-]+$")]
_Parameter = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.~-]+$")]
_Status = Annotated[int, Field(strict=True, ge=200, le=599)]


@meta.shape
class StatusTtl:
    """How long answers with some statuses are kept."""

    statuses: Annotated[
        tuple[_Status, ...], Field(min_length=1, max_length=16, description="The statuses, such as 404.")
    ]
    ttl: Annotated[meta.Duration, Field(description="In whole seconds, rounded up. `0s`: they are not kept.")]


@meta.shape
class KeyBy:
    """What tells requests apart beside host, path and query."""

    identity_headers: Annotated[
        tuple[_Header, ...] | None,
        Field(
            max_length=4,
            description="Headers that say whose request it is, such as `x-user-id` as an auth filter"
            " writes it: users share no answers. Requests with credentials are cached then,"
            " and those without these headers share nothing. Whoever writes the headers has"
            " to be trusted.",
        ),
    ] = None
    headers: Annotated[
        tuple[_Header, ...] | None,
        Field(
            max_length=8,
            description="Headers by which the backend answers, such as `accept-language`. An answer"
            " with `Vary` is kept if it names these headers only.",
        ),
    ] = None
    query_parameters: Annotated[
        tuple[_Parameter, ...] | None,
        Field(
            max_length=32,
            description="The only query parameters of cached requests: one with others goes to the"
            " backend. Default: any. Say it where anybody can invent parameters: each makes"
            " an entry of its own.",
        ),
    ] = None
    ignored_query_parameters: Annotated[
        tuple[_Parameter, ...] | None,
        Field(
            max_length=32,
            description="Query parameters that do not count. They are taken off cached requests, so"
            " that no answer can depend on them.",
        ),
    ] = None


@meta.shape
class Storage:
    """Where answers are kept. Taken from one policy as a whole."""

    WHOLE: ClassVar[bool] = True

    directory: Annotated[
        str | None,
        Field(
            max_length=256,
            pattern=r"^(/[A-Za-z0-9._-]+)+$",
            description="A folder on Envoy's machine that exists and that Envoy may write to. Default:"
            " `/dev/shm`, which is in memory.",
        ),
    ] = None
    size: Annotated[
        int | None,
        Field(
            strict=True,
            ge=65536,
            le=2**40,
            description="Bytes; what was used longest ago is dropped beyond. Default: 33554432 (32"
            " MiB). Policies that name one folder should name one size: the smallest"
            " decides.",
        ),
    ] = None


@meta.shape
class Cache(policy.Section):
    """Answers to GET and HEAD, kept at the gateway (docs/caching.md)."""

    ttl: Annotated[
        meta.Duration | None,
        Field(
            description="How long a successful answer is kept whose backend says nothing about it, in"
            " whole seconds, rounded up. Default: not at all.",
        ),
    ] = None
    ttl_by_status: Annotated[
        tuple[StatusTtl, ...] | None,
        Field(
            max_length=16, description="The same for single statuses, errors included; it wins over `ttl`."
        ),
    ] = None
    respect_origin: Annotated[
        meta.Bool | None,
        Field(
            description="The backend's `Cache-Control` or `Expires` wins over `ttl` and `ttlByStatus`."
            " `private` and `no-store` count in any case. Default: true.",
        ),
    ] = None
    key_by: Annotated[
        KeyBy | None, Field(description="What tells requests apart beside host, path and query.")
    ] = None
    shared: Annotated[
        meta.Bool | None,
        Field(
            description="Requests with credentials (`Authorization`, `Cookie` ...) are answered from"
            " the cache as well, and what they get is kept for everybody. Only for what is"
            " the same for all users.",
        ),
    ] = None
    version: Annotated[
        str | None,
        Field(
            max_length=128,
            description="A part of every key. Another version forgets what was kept, as a purge does.",
        ),
    ] = None
    client_refresh: Annotated[
        meta.Bool | None,
        Field(description="Clients may ask for a fresh answer (`Cache-Control: no-cache`). Default: false."),
    ] = None
    status_header: Annotated[
        str | None,
        Field(
            max_length=64,
            pattern=r"^[A-Za-z0-9-]*$",
            description="The response header that tells `HIT` or `MISS`. Empty: none. Default: `x-cache`.",
        ),
    ] = None
    max_body_bytes: Annotated[
        int | None,
        Field(
            strict=True,
            ge=1,
            le=2**31 - 1,
            description="Answers whose `Content-Length` is larger are not kept. Default: 1048576 (1 MiB).",
        ),
    ] = None
    storage: Annotated[Storage | None, Field(description="Where answers are kept.")] = None
