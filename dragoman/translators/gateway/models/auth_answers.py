"""Answers of an AuthPolicy to those who may not pass."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from dragoman.translators.gateway.models import meta, policy

LONGEST = 16384
Text = Annotated[str, Field(max_length=LONGEST)]


@meta.shape
class Header:
    """A header of the answer."""

    name: Annotated[meta.HeaderName, Field(description="Its name.")]
    value: Annotated[meta.HeaderValue, Field(description="Its value, with placeholders as in `text`.")]


@meta.shape
class Answer:
    """Another answer. Placeholders stand for parts of it: `%ERROR%`, `%MESSAGE%`, `%STATUS%`,
    `%REQUIRED_SCOPES%`, and in `json` also `%CURRENT_SCOPES%`, `%METHOD%`, `%HOST%`, `%PATH%`,
    `%REQUEST_ID%` and `%TIME%`; `%%` is a `%`."""

    WHOLE: ClassVar[bool] = True

    status: Annotated[
        int | None,
        Field(strict=True, ge=300, le=599, description="The status. Default: as usual."),
    ] = None
    json: Annotated[
        dict[str, Any] | None,
        Field(description="A JSON object. A text of it that is one placeholder becomes a value of its own."),
    ] = None
    text: Annotated[Text | None, Field(description="Any text. Default, without `json`: none.")] = None
    content_type: Annotated[
        meta.HeaderValue | None,
        Field(description="Default: `application/json` for `json`, `text/plain` for `text`."),
    ] = None
    headers: Annotated[
        tuple[Header, ...],
        Field(
            max_length=16,
            description="Headers. `WWW-Authenticate` is there with 401 also where it is not said here.",
        ),
    ] = ()


@meta.shape
class Answers(policy.Section):
    """Other answers to those who may not pass, by the `error` that they usually have."""

    unauthorized: Annotated[Answer | None, Field(description="Nothing was brought that proves anything.")] = (
        None
    )
    token_expired: Annotated[Answer | None, Field(description="The token's time is over.")] = None
    invalid_token: Annotated[Answer | None, Field(description="The token is wrong in another way.")] = None
    invalid_key: Annotated[Answer | None, Field(description="Nobody has this API key.")] = None
    invalid_credentials: Annotated[
        Answer | None, Field(description="The user name or the password is wrong.")
    ] = None
    insufficient_scope: Annotated[Answer | None, Field(description="The token lacks a scope.")] = None
    forbidden: Annotated[Answer | None, Field(description="Another rule is not met.")] = None
    unavailable: Annotated[Answer | None, Field(description="Nobody can find out who may pass.")] = None
