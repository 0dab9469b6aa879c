"""Consumer (dragoman.dev/v1alpha1): one client, with its credentials, its groups and its plan.

AuthPolicies of the same namespace know it by them; backends learn its name, groups and plan, however it came.
"""

from __future__ import annotations

from typing import Annotated, Literal

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


Path = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\s:%()\"\\.]+(\.[^\s:%()\"\\.]+)*$")]
"""A claim; dots lead into objects."""


@meta.shape
class Token:
    """Whose tokens are the Consumer's."""

    issuer: Annotated[
        str,
        Field(
            min_length=1,
            max_length=1024,
            description="What they say in `iss`; of tokens that are looked up, the policy's `issuer`.",
        ),
    ]
    claim: Annotated[
        Path,
        Field(description="Where they say whose they are: the policy's `consumerClaim`. Default: `sub`."),
    ] = "sub"
    value: Annotated[str, Field(min_length=1, max_length=1024, description="What they say there.")]


@meta.shape
class Certificate:
    """Which certificates are the Consumer's."""

    type: Annotated[
        Literal["URI", "DNS"],
        Field(
            description="Which name counts: the first of that type. SPIFFE identities are URIs. Default: URI."
        ),
    ] = "URI"
    name: Annotated[
        str, Field(min_length=1, max_length=1024, description="The name: `spiffe://shop.example/ns/api`.")
    ]


User = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[!-9;-~]+$")]


@meta.shape
class Consumer:
    """ConsumerSpec."""

    api_keys: Annotated[
        tuple[KeyReference, ...],
        Field(
            max_length=16, description="API keys. All of them hold: add the new one, later drop the old one."
        ),
    ] = ()
    tokens: Annotated[
        tuple[Token, ...],
        Field(
            max_length=16,
            description="Tokens, where a policy's `jwt` or `introspection` has a `consumerClaim`.",
        ),
    ] = ()
    users: Annotated[
        tuple[User, ...],
        Field(
            max_length=16,
            description="Names that go with passwords, where a policy's `basic` says `consumers`.",
        ),
    ] = ()
    certificates: Annotated[
        tuple[Certificate, ...],
        Field(
            max_length=16,
            description="Client certificates, where a policy's `clientCertificate` asks for them.",
        ),
    ] = ()
    groups: Annotated[
        tuple[Name, ...], Field(max_length=32, description="Groups that policies and rules speak of.")
    ] = ()
    plan: Annotated[Name | None, Field(description="The plan, told to backends.")] = None
