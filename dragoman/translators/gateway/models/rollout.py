"""Rollout (dragoman.dev/v1alpha1): a canary gets its share of one rule's traffic step by step.

The route stays as it is: the Rollout sets the weights of two of the rule's backends while it lasts.
`rules_rollout` has the rules that span fields. docs/rollout.md says how it decides.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dragoman.translators.gateway.models import httproute, meta

Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]


@meta.shape
class Target:
    """The rule of a route in the Rollout's namespace."""

    name: Annotated[meta.ObjectName, Field(description="The route's name.")]
    group: Annotated[meta.Group, Field(description="The route's API group.")] = meta.GATEWAY_GROUP
    kind: Annotated[Literal["HTTPRoute", "GRPCRoute"], Field(description="The route's kind.")] = "HTTPRoute"
    section_name: Annotated[
        meta.SectionName | None,
        Field(description="The rule's `name`. May be left out where the route has one rule."),
    ] = None


@meta.shape
class Step:
    """What the canary gets, and how long it stays so. A step without `pause` and `approval` is left as soon
    as the checks are content."""

    weight: Annotated[
        int,
        Field(strict=True, ge=0, le=100, description="The canary's percent of what both backends get."),
    ]
    pause: Annotated[meta.Duration, Field(description="The step lasts at least so long, such as `10m`.")] = (
        0.0
    )
    approval: Annotated[
        meta.Bool,
        Field(description="The step lasts until `dragoman rollout approve`, and at least `pause`."),
    ] = False


@meta.shape
class Cookie:
    """A cookie that marks testers."""

    name: Annotated[meta.HeaderName, Field(description="The cookie's name, case-sensitive.")]
    value: Annotated[
        str,
        Field(
            min_length=1,
            max_length=1024,
            pattern=r"^[!-:<-~]+$",
            description="The whole value, compared as it is.",
        ),
    ]


@meta.shape
class Tester:
    """Requests that have all of it go to the canary alone."""

    headers: Annotated[
        tuple[httproute.HeaderMatch, ...],
        Field(max_length=16, description="Headers as in a route's matches: name, value and type."),
    ] = ()
    cookies: Annotated[
        tuple[Cookie, ...], Field(max_length=16, description="Cookies by name and exact value.")
    ] = ()


@meta.shape
class SuccessRate:
    """Answers below 500, and of gRPC calls those whose status does not blame the server."""

    min: Annotated[Percent, Field(description="Percent of the canary's answers that must be successes.")]


@meta.shape
class Latency:
    """From a request's first byte to the last byte of the backend's answer."""

    max: Annotated[meta.Duration, Field(description="So long it may be at most, such as `500ms`.")]
    percentile: Annotated[
        float, Field(gt=0, lt=100, allow_inf_nan=False, description="Which percentile.")
    ] = 99.0


@meta.shape
class Prometheus:
    """One number from a Prometheus. At least one of `min` and `max`."""

    address: Annotated[
        str,
        Field(
            min_length=8,
            max_length=1024,
            pattern=r"^https?://[^\s?#]+$",
            description="Its base URL such as `http://prometheus.monitoring:9090`, without credentials.",
        ),
    ]
    query: Annotated[
        str,
        Field(
            min_length=1,
            max_length=8192,
            description="PromQL that gives a scalar, or a vector of one sample. No sample is no verdict.",
        ),
    ]
    min: Annotated[Number | None, Field(description="The least number that is good.")] = None
    max: Annotated[Number | None, Field(description="The greatest number that is good.")] = None


@meta.shape
class Check:
    """Asked again and again while a step lasts. Either `prometheus`, or `successRate` and `latency` (one or
    both) from what Envoy reports of the canary's requests."""

    name: Annotated[
        str, Field(max_length=63, description="Stands in the status; made up where it is left out.")
    ] = ""
    success_rate: Annotated[
        SuccessRate | None, Field(description="The share of good answers, by Envoy's report.")
    ] = None
    latency: Annotated[
        Latency | None, Field(description="A percentile of the answers' times, by Envoy's report.")
    ] = None
    prometheus: Annotated[Prometheus | None, Field(description="A query, instead of Envoy's report.")] = None
    interval: Annotated[meta.Duration, Field(description="How often it is judged; 1s at least.")] = 30.0
    min_requests: Annotated[
        int | None,
        Field(
            strict=True,
            ge=1,
            le=1_000_000,
            description="Without so many of the canary's requests since the last verdict there is none, "
            "and the step is not left. 20 where it is left out. With `successRate` or `latency` only.",
        ),
    ] = None
    failure_limit: Annotated[
        int,
        Field(strict=True, ge=1, le=1000, description="So many bad verdicts in a row are one too many."),
    ] = 1


@meta.shape
class Rollout:
    """RolloutSpec."""

    target_ref: Annotated[Target, Field(description="The rule whose weights are set.")]
    stable: Annotated[
        meta.BackendObjectReference, Field(description="The backend that has the traffic: one of the rule's.")
    ]
    canary: Annotated[
        meta.BackendObjectReference,
        Field(description="The backend that is to get it: another one."),
    ]
    steps: Annotated[
        tuple[Step, ...],
        Field(
            min_length=1, max_length=32, description="In this order; after the last one comes 100 percent."
        ),
    ]
    testers: Annotated[
        tuple[Tester, ...],
        Field(max_length=8, description="Who gets the canary whatever its weight; one that fits is enough."),
    ] = ()
    checks: Annotated[
        tuple[Check, ...],
        Field(max_length=8, description="All must be content before a step is left. None: time decides."),
    ] = ()
    on_failure: Annotated[
        Literal["Rollback", "Hold"],
        Field(description="What a check that fails does: the canary's weight becomes 0, or stays as it is."),
    ] = "Rollback"
