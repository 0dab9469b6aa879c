"""Rules of an AuthPolicy: what a request must prove, or be, to pass."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dragoman.translators.gateway.models import consumer, httproute, meta, policy

Text = Annotated[str, Field(min_length=1, max_length=1024)]
Texts = Annotated[tuple[Text, ...], Field(max_length=64)]


@meta.shape
class Claim:
    """A claim of the token. Lists meet it if one of their entries does."""

    name: Annotated[Text, Field(description="The claim; dots lead into objects (`realm.roles`).")]
    values: Annotated[Texts, Field(min_length=1, description="One of these.")]


@meta.shape
class Scopes:
    """What the token was issued for (`scope`, RFC 8693; `scp` is not read)."""

    all_of: Annotated[Texts, Field(description="The token has all of these.")] = ()
    any_of: Annotated[Texts, Field(description="The token has one of these at least.")] = ()


@meta.shape
class Principal:
    """A name in the client's certificate, which a ClientPolicy has had checked: `exact` or `prefix`."""

    type: Annotated[
        Literal["URI", "DNS"],
        Field(description="Which names are looked at. SPIFFE identities are URIs. Default: URI."),
    ] = "URI"
    exact: Annotated[Text | None, Field(description="The whole name.")] = None
    prefix: Annotated[
        Text | None, Field(description="What it begins with: `spiffe://shop.example/ns/api/`.")
    ] = None


@meta.shape
class Rule:
    """Everything that a rule says must hold."""

    name: Annotated[
        str, Field(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$|^$", description="For people.")
    ] = ""
    scopes: Annotated[Scopes | None, Field(description="Scopes of the token.")] = None
    claims: Annotated[tuple[Claim, ...], Field(max_length=16, description="Claims of the token.")] = ()
    consumers: Annotated[
        tuple[consumer.Name, ...],
        Field(max_length=64, description="The client's API key is of one of these Consumers, or entries."),
    ] = ()
    groups: Annotated[
        tuple[consumer.Name, ...],
        Field(max_length=64, description="The client's Consumer is in one of these groups."),
    ] = ()
    methods: Annotated[
        tuple[httproute.Method, ...], Field(max_length=9, description="One of these methods.")
    ] = ()
    paths: Annotated[
        tuple[httproute.PathMatch, ...], Field(max_length=16, description="One of these paths.")
    ] = ()
    headers: Annotated[
        tuple[httproute.HeaderMatch, ...], Field(max_length=16, description="All of these headers.")
    ] = ()
    client_addresses: Annotated[
        tuple[Annotated[str, Field(max_length=49)], ...],
        Field(max_length=64, description="The client's address is in one of these networks (CIDR)."),
    ] = ()
    principals: Annotated[
        tuple[Principal, ...],
        Field(max_length=32, description="The client's certificate has one of these names."),
    ] = ()
    user_agents: Annotated[
        Texts, Field(description="The whole `User-Agent` meets one of these RE2 expressions.")
    ] = ()


@meta.shape
class Excluded:
    """Requests that need no credentials. What is said must all hold."""

    paths: Annotated[
        tuple[httproute.PathMatch, ...], Field(max_length=32, description="One of these paths.")
    ] = ()
    methods: Annotated[
        tuple[httproute.Method, ...],
        Field(max_length=9, description="One of these methods, such as OPTIONS."),
    ] = ()


@meta.shape
class Rules(policy.Section):
    """Who may pass. Where there is an `allow` list, nobody else may; `deny` goes before it."""

    WHOLE: ClassVar[bool] = True

    allow: Annotated[
        tuple[Rule, ...] | None, Field(max_length=32, description="A request passes that meets one of these.")
    ] = None
    deny: Annotated[
        tuple[Rule, ...] | None,
        Field(max_length=32, description="A request that meets one of these does not."),
    ] = None
    shadow: Annotated[
        meta.Bool | None,
        Field(description="`true`: nothing is refused, only counted (dry run). Default: false."),
    ] = None
