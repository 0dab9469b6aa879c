"""The parts of an HTTPPolicy that change headers, query parameters, path and host.

Values may hold Envoy's format operators (`%REQ(x-id)%`); a literal `%` is written `%%`
(`translators/gateway/templates.py`).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from dragoman.translators.gateway.models import meta, policy

ParameterName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9\-._~]+$")]
_VALUE = "The value. Format operators such as `%REQ(x-id)%` stand for parts of the request; `%%` is a `%`."


@meta.shape
class Header:
    """A header and its value."""

    name: Annotated[meta.HeaderName, Field(description="The header's name.")]
    value: Annotated[meta.HeaderValue, Field(description=_VALUE)]


@meta.shape
class Renaming:
    """A header that gets another name."""

    name: Annotated[meta.HeaderName, Field(description="The header as it arrives.")]
    to: Annotated[meta.HeaderName, Field(description="Its new name; one of that name is overwritten.")]


@meta.shape
class HeaderChanges(policy.Section):
    """Changes of headers, in the order rename, remove, set, add."""

    rename: Annotated[
        tuple[Renaming, ...] | None,
        Field(max_length=32, description="Moves the (first) value of a header to another name."),
    ] = None
    remove: Annotated[
        tuple[meta.HeaderName, ...] | None, Field(max_length=64, description="Headers that are dropped.")
    ] = None
    remove_prefixes: Annotated[
        tuple[meta.HeaderName, ...] | None,
        Field(max_length=32, description="Headers whose name begins with one of these are dropped."),
    ] = None
    set: Annotated[
        tuple[Header, ...] | None,
        Field(max_length=64, description="Headers that get this value, whether there or not."),
    ] = None
    add: Annotated[
        tuple[Header, ...] | None,
        Field(max_length=64, description="Values that are added to those that are there."),
    ] = None


@meta.shape
class Parameter:
    """A query parameter and its value."""

    name: Annotated[ParameterName, Field(description="The parameter's name.")]
    value: Annotated[meta.HeaderValue, Field(description=_VALUE)]


@meta.shape
class QueryParameters(policy.Section):
    """Changes of query parameters, in the order remove, set, add."""

    remove: Annotated[
        tuple[ParameterName, ...] | None, Field(max_length=64, description="Parameters that are dropped.")
    ] = None
    set: Annotated[
        tuple[Parameter, ...] | None,
        Field(max_length=64, description="Parameters that get this value, whether there or not."),
    ] = None
    add: Annotated[
        tuple[Parameter, ...] | None,
        Field(max_length=64, description="Values that are added to those that are there."),
    ] = None


@meta.shape
class Substitution:
    """What a regular expression makes of the path (without query)."""

    WHOLE: ClassVar[bool] = True

    regex: Annotated[
        str,
        Field(
            min_length=1,
            max_length=1024,
            description="RE2; each part of the path that matches is replaced. Anchor it with `^` and `$` to"
            " match the whole path.",
        ),
    ]
    substitution: Annotated[
        str,
        Field(max_length=1024, description=r"What stands there instead; `\1` is the first group."),
    ]


@meta.shape
class Host:
    """Where the new host comes from: one of the three."""

    WHOLE: ClassVar[bool] = True

    name: Annotated[
        meta.PreciseHostname | None, Field(description="This host name, whatever the request says.")
    ] = None
    header: Annotated[
        meta.HeaderName | None,
        Field(description="The value of this header of the request; without it the host stays."),
    ] = None
    path: Annotated[
        Substitution | None,
        Field(description="What a regular expression makes of the path; it should match every path."),
    ] = None


@meta.shape
class Rewrite(policy.Section):
    """What backends are asked for instead. An HTTPRoute's own URLRewrite filter wins, path and host apart."""

    path: Annotated[Substitution | None, Field(description="Another path.")] = None
    host: Annotated[Host | None, Field(description="Another host.")] = None
