"""How one of several endpoints is chosen: a part of a TrafficPolicy."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dragoman.translators.gateway.models import meta, policy

RING_LIMIT = 8 * 1024 * 1024
TABLE_LIMIT = 5_000_011
Ring = Annotated[int, Field(strict=True, ge=1, le=RING_LIMIT)]


@meta.shape
class Cookie:
    """A cookie. With `ttl`, a client without it is given one, and comes back to the same endpoint."""

    name: Annotated[meta.HeaderName, Field(description="Its name.")]
    ttl: Annotated[
        meta.Duration | None,
        Field(
            description="How long the cookie that is given lives; `0s`: as long as the browser. Without it"
            " none is given."
        ),
    ] = None
    path: Annotated[
        Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^/[!-:<-~]*$")] | None,
        Field(description="The path that the cookie that is given is for. Default: `/`."),
    ] = None


@meta.shape
class HashSource:
    """What requests with the same value of go to the same endpoint: exactly one."""

    header: Annotated[meta.HeaderName | None, Field(description="A request header.")] = None
    cookie: Annotated[Cookie | None, Field(description="A cookie.")] = None
    query_parameter: Annotated[
        Annotated[str, Field(min_length=1, max_length=256)] | None, Field(description="A query parameter.")
    ] = None
    source_address: Annotated[meta.Bool | None, Field(description="`true`: the client's address.")] = None


@meta.shape
class SlowStart:
    """A new endpoint's share grows from little to its whole."""

    window: Annotated[meta.Duration, Field(description="How long that takes.")]
    aggression: Annotated[
        float | None,
        Field(
            ge=0.01,
            le=100,
            description="1 grows evenly, more grows faster at the start and slower later. Default: 1.",
        ),
    ] = None
    minimum_percent: Annotated[
        Annotated[int, Field(strict=True, ge=1, le=100)] | None,
        Field(description="The share it starts with, in percent of its whole. Default: 10."),
    ] = None


@meta.shape
class LoadBalancing(policy.Section):
    """How one of several endpoints is chosen. Taken from one policy as a whole."""

    WHOLE: ClassVar[bool] = True

    type: Annotated[
        Literal["RoundRobin", "LeastRequest", "Random", "RingHash", "Maglev"] | None,
        Field(
            description="`LeastRequest`: of some, the one with the fewest requests under way. `RingHash` and"
            " `Maglev`: the same endpoint for the same value of `hashOn`. Default: LeastRequest."
        ),
    ] = None
    choices: Annotated[
        Annotated[int, Field(strict=True, ge=2, le=100)] | None,
        Field(description="LeastRequest: how many endpoints are compared. Default: 2."),
    ] = None
    active_request_bias: Annotated[
        float | None,
        Field(
            ge=0,
            le=100,
            description="LeastRequest with endpoints of different weights: how much requests under way count."
            " Default: 1.",
        ),
    ] = None
    hash_on: Annotated[
        Annotated[tuple[HashSource, ...], Field(min_length=1, max_length=8)] | None,
        Field(description="RingHash and Maglev: the first of these that a request has decides."),
    ] = None
    minimum_ring_size: Annotated[
        Ring | None,
        Field(description="RingHash: points on the ring, at least. More make it more even. Default: 1024."),
    ] = None
    maximum_ring_size: Annotated[
        Ring | None, Field(description="RingHash: points on the ring, at most. Default: 8388608.")
    ] = None
    table_size: Annotated[
        Annotated[int, Field(strict=True, ge=2, le=TABLE_LIMIT)] | None,
        Field(description="Maglev: entries of the table, a prime number. Default: 65537."),
    ] = None
    balance_factor: Annotated[
        Annotated[int, Field(strict=True, ge=100, le=100_000)] | None,
        Field(
            description="RingHash and Maglev: an endpoint with more requests under way than so many percent"
            " of the average is passed over. Default: none is."
        ),
    ] = None
    slow_start: Annotated[
        SlowStart | None,
        Field(description="RoundRobin and LeastRequest: new endpoints get their share slowly."),
    ] = None
    prefer_local_zone: Annotated[
        meta.Bool | None,
        Field(
            description="RoundRobin, LeastRequest and Random: endpoints of Envoy's own zone alone, while"
            " there are enough of them. Default: false."
        ),
    ] = None
    minimum_local_endpoints: Annotated[
        Annotated[int, Field(strict=True, ge=1, le=10_000)] | None,
        Field(description="How many healthy endpoints of its zone are enough. Default: 1."),
    ] = None
