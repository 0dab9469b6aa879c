"""RateLimitPolicy (dragoman.dev/v1alpha1): how many requests pass, of whom, and what the rest is told.

docs/ratelimit.md says what the service that counts them does.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from dragoman.translators.gateway.models import consumer, meta, policy

MOST: Final = 100_000_000
_Count = Annotated[int, Field(strict=True, ge=1, le=MOST)]
_LimitName = Annotated[str, Field(min_length=1, max_length=63)]
_Token = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[A-Z][A-Z\-]*$")]
_Path = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^/[^?#\s]*$")]
_Name = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9!#$%&'*+\-.^_`|~\[\]:/]+$")]


@meta.shape
class Algorithm:
    """How requests are counted."""

    WHOLE: ClassVar[bool] = True

    type: Annotated[
        Literal["FixedWindow", "SlidingWindowLog", "SlidingWindowCounter", "TokenBucket", "LeakyBucket"],
        Field(description="docs/ratelimit.md says what each of them promises."),
    ]
    burst: Annotated[
        _Count | None,
        Field(
            description="TokenBucket: how many tokens there can be; default: `requests`. LeakyBucket: how"
            " many requests may wait for their turn; default: none."
        ),
    ] = None
    delay: Annotated[
        _Count | None,
        Field(description="LeakyBucket: how many of the waiting go on at once. Default: none."),
    ] = None
    nodelay: Annotated[
        meta.Bool | None,
        Field(description="LeakyBucket: `true` lets all of the waiting go on at once. Default: false."),
    ] = None


@meta.shape
class KeyPart:
    """One thing that a limit counts by. Requests that lack it share a count."""

    type: Annotated[
        Literal[
            "ClientAddress",
            "Header",
            "Cookie",
            "Query",
            "Path",
            "Method",
            "Host",
            "Claim",
            "Consumer",
            "ApiKey",
            "Plan",
        ],
        Field(
            description="What it is. `Path` has no query; `Claim` is of a token that an AuthPolicy took;"
            " `Consumer` is who an AuthPolicy found the client to be, `ApiKey` which of its keys it showed,"
            " `Plan` that Consumer's plan."
        ),
    ]
    name: Annotated[
        _Name | None,
        Field(description="Of the header, cookie, query parameter or claim (`a.b`: `b` within `a`)."),
    ] = None
    prefix4: Annotated[
        Annotated[int, Field(strict=True, ge=1, le=32)] | None,
        Field(description="ClientAddress: how many bits of an IPv4 address count. Default: 32."),
    ] = None
    prefix6: Annotated[
        Annotated[int, Field(strict=True, ge=1, le=128)] | None,
        Field(description="ClientAddress: how many bits of an IPv6 address count. Default: 64."),
    ] = None


@meta.shape
class PathCondition:
    """A path."""

    type: Annotated[Literal["Exact", "PathPrefix"], Field(description="`PathPrefix`: by whole segments.")] = (
        "PathPrefix"
    )
    value: Annotated[_Path, Field(description="The path, without query.")]


@meta.shape
class HeaderCondition:
    """A header."""

    type: Annotated[
        Literal["Exact", "RegularExpression", "Present"],
        Field(description="`RegularExpression` (RE2) must match the whole value; `Present`: any value."),
    ] = "Exact"
    name: Annotated[meta.HeaderName, Field(description="The header's name.")]
    value: Annotated[meta.HeaderValue | None, Field(description="What it must be.")] = None


@meta.shape
class Condition:
    """One of `methods`, `path` and `header`."""

    methods: Annotated[
        tuple[_Token, ...] | None,
        Field(min_length=1, max_length=16, description="Requests with one of these methods."),
    ] = None
    path: Annotated[PathCondition | None, Field(description="Requests for this path.")] = None
    header: Annotated[HeaderCondition | None, Field(description="Requests with this header.")] = None
    invert: Annotated[meta.Bool, Field(description="`true`: all others.")] = False


@meta.shape
class Metadata:
    """Where a filter has left a value for the others."""

    namespace: Annotated[consumer.Path, Field(description="Whose it is: `envoy.filters.http.ext_authz`.")]
    key: Annotated[consumer.Path, Field(description="Its name there; dots lead into objects.")]


@meta.shape
class Cost:
    """Hits of one request, as a header or metadata say: one of the two."""

    WHOLE: ClassVar[bool] = True

    header: Annotated[
        meta.HeaderName | None,
        Field(description="A number from 1 to 999999999. A request without it costs 1."),
    ] = None
    metadata: Annotated[
        Metadata | None,
        Field(
            description="The same, from Envoy's dynamic metadata: of the service that an AuthPolicy asks"
            " (`external`), of a token's claims (`envoy.filters.http.jwt_authn`, `payload.<claim>`)."
        ),
    ] = None
    of: Annotated[
        Literal["Request", "Response"],
        Field(
            description="`Response`: requests pass while anything is left, and are charged when they are"
            " done; a response without the number costs nothing."
        ),
    ] = "Request"


@meta.shape
class Headers:
    """Response headers about the limit."""

    x_rate_limit: Annotated[
        meta.Bool | None,
        Field(description="`X-RateLimit-Limit`, `-Remaining` and `-Reset`. Default: true."),
    ] = None
    rate_limit: Annotated[
        meta.Bool | None,
        Field(
            description="`RateLimit-Limit`, `-Remaining`, `-Reset`, `-Policy` (IETF draft). Default: false."
        ),
    ] = None
    retry_after: Annotated[
        meta.Bool | None, Field(description="`Retry-After` with a 429. Default: true.")
    ] = None


@meta.shape
class Body(policy.Section):
    """The JSON body of a 429: `error`, `message`, `retryAfter` and `limit`."""

    message: Annotated[
        Annotated[str, Field(min_length=1, max_length=512)] | None, Field(description="Its `message`.")
    ] = None


@meta.shape
class PlanLimit(policy.Section):
    """What Consumers with a plan have instead of the limit's own numbers. `disabled`: nothing instead."""

    requests: Annotated[_Count | None, Field(description="How many requests pass.")] = None
    per: Annotated[meta.Window | None, Field(description="In how much time. Default: the limit's.")] = None
    burst: Annotated[
        _Count | None, Field(description="As the algorithm's `burst`. Default: the algorithm's own default.")
    ] = None
    unlimited: Annotated[meta.Bool | None, Field(description="`true`: as many as they want.")] = None


@meta.shape
class Limit(policy.Section):
    """A limit. It merges field by field with less specific policies' limit of the same name."""

    requests: Annotated[
        _Count | None, Field(description="How many requests (or hits, with `cost`) pass.")
    ] = None
    per: Annotated[
        meta.Window | None,
        Field(
            description="In how much time: `Second`, `Minute`, `Hour`, `Day`, `Week`, `Month` (30 days) or"
            " a duration."
        ),
    ] = None
    where: Annotated[
        Literal["Local", "Global", "Quota"] | None,
        Field(
            description="`Global`: the rate-limit service counts, for all proxies together. `Local`: each"
            " proxy counts by itself, by a token bucket. `Quota`: each counts by itself what the service"
            " assigns to it, together about the limit. Default: `Global`."
        ),
    ] = None
    algorithm: Annotated[
        Algorithm | None,
        Field(description="How requests are counted. Default: FixedWindow; with `where: Local` TokenBucket."),
    ] = None
    key: Annotated[
        tuple[KeyPart, ...] | None,
        Field(
            max_length=8,
            description="What has a count of its own. Default: everything shares one; with `plans` each"
            " Consumer has one.",
        ),
    ] = None
    plans: Annotated[
        dict[consumer.Name, PlanLimit] | None,
        Field(
            min_length=1,
            max_length=32,
            description="Other numbers by the Consumer's plan. Who has none of these plans has the limit's"
            " own.",
        ),
    ] = None
    when: Annotated[
        tuple[Condition, ...] | None,
        Field(max_length=8, description="Which requests count: those that meet all of it. Default: all."),
    ] = None
    scope: Annotated[
        Literal["Gateway", "Route", "Rule"] | None,
        Field(
            description="`Gateway`: all requests of a Gateway that have the limit count together. `Route`,"
            " `Rule`: each route, or rule of one, has counts of its own. Default: `Gateway`."
        ),
    ] = None
    cost: Annotated[Cost | None, Field(description="How many hits a request is. Default: one.")] = None
    shadow: Annotated[
        meta.Bool | None, Field(description="`true`: counted and reported, never denied. Default: false.")
    ] = None
    failure: Annotated[
        Literal["Open", "Closed", "Local"] | None,
        Field(
            description="What happens when nobody can count: requests pass (`Open`) or get 503 (`Closed`)."
            " `Local`: while Redis is away the service counts by itself; while the service is, requests pass."
            " Default: `Open`."
        ),
    ] = None
    status: Annotated[
        Annotated[int, Field(strict=True, ge=400, le=599)] | None,
        Field(description="The status of a denial: one from 400 to 511 that HTTP knows. Default: 429."),
    ] = None
    timeout: Annotated[
        meta.Duration | None,
        Field(
            description="How long the service may take to answer, from 1ms; then it counts as failed."
            " Default: 500ms."
        ),
    ] = None
    headers: Annotated[Headers | None, Field(description="Response headers about the limit.")] = None
    body: Annotated[Body | None, Field(description="The body of a 429. Default: JSON.")] = None


@meta.shape
class RateLimitPolicy(policy.Policy):
    """RateLimitPolicySpec."""

    limits: Annotated[
        dict[_LimitName, Limit] | None,
        Field(
            min_length=1, max_length=16, description="The limits, by name. A request has to pass all of them."
        ),
    ] = None
