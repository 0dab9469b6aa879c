"""The parts of an HTTPPolicy about bodies: compression, decompression, size."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from dragoman.translators.gateway.models import meta, policy, sizes

Algorithm = Literal["brotli", "gzip", "zstd"]
ContentType = Annotated[
    str,
    Field(
        max_length=127,
        pattern=r"^[A-Za-z0-9!#$&^_.+\-]+\/(\*|(\*\+)?[A-Za-z0-9!#$&^_.+\-]+)$",
    ),
]
ErrorStatus = Annotated[int, Field(strict=True, ge=200, le=599)]

COMPRESSIBLE: Final = (
    "application/javascript",
    "application/json",
    "application/manifest+json",
    "application/problem+json",
    "application/vnd.api+json",
    "application/wasm",
    "application/xhtml+xml",
    "application/xml",
    "font/otf",
    "font/ttf",
    "image/svg+xml",
    "image/x-icon",
    "text/css",
    "text/csv",
    "text/html",
    "text/javascript",
    "text/markdown",
    "text/plain",
    "text/xml",
)
"""What is compressed unless a policy says otherwise. Event streams are not: a compressor holds them up."""


@meta.shape
class Compression(policy.Section):
    """Responses are compressed as their client's `Accept-Encoding` allows."""

    algorithms: Annotated[
        tuple[Algorithm, ...] | None,
        Field(
            min_length=1,
            max_length=3,
            description="The preferred one first; the client's own preferences (`q`) go before."
            " Default: brotli, zstd, gzip.",
        ),
    ] = None
    effort: Annotated[
        Literal["Fastest", "Balanced", "Smallest"] | None,
        Field(description="Whether speed counts or size. Default: Balanced."),
    ] = None
    min_length: Annotated[
        sizes.Size | None,
        Field(description="Responses that say that they are shorter are left alone. Default: 1Ki."),
    ] = None
    content_types: Annotated[
        tuple[ContentType, ...] | None,
        Field(
            min_length=1,
            max_length=64,
            description="Only these are compressed: `application/json`, `text/*`, `application/*+json`."
            " Default: text, JSON, XML, JavaScript, WebAssembly, SVG and fonts that are not compressed.",
        ),
    ] = None
    except_statuses: Annotated[
        tuple[ErrorStatus, ...] | None,
        Field(max_length=64, description="Responses with these statuses are never compressed."),
    ] = None
    weaken_e_tags: Annotated[
        meta.Bool | None,
        Field(
            alias="weakenETags",
            description="A strong ETag becomes a weak one, since the bytes are others. `false`: responses"
            " with a strong ETag are left alone. Default: true.",
        ),
    ] = None


@meta.shape
class Decompression(policy.Section):
    """Bodies of requests are decompressed before backends (and the size limit) see them."""

    algorithms: Annotated[
        tuple[Literal["gzip"], ...] | None,
        Field(min_length=1, max_length=1, description="What is undone. Default: gzip."),
    ] = None


@meta.shape
class RequestBody(policy.Section):
    """Limits of requests' bodies."""

    max_size: Annotated[
        sizes.Size | None,
        Field(description="Larger bodies are answered with 413, also those that do not say their length."),
    ] = None
