"""User names and passwords in an AuthPolicy."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from dragoman.translators.gateway.models import consumer, meta, policy

User = consumer.User


@meta.shape
class UsersReference:
    """An entry of a Secret of the policy's namespace."""

    name: Annotated[meta.ObjectName, Field(description="The Secret's name.")]
    key: Annotated[
        str, Field(min_length=1, max_length=253, description="The entry. Default: `.htpasswd`.")
    ] = ".htpasswd"


@meta.shape
class Basic(policy.Section):
    """Requests bring a user name and a password (`Authorization: Basic`). The backend gets the name, not the
    password."""

    WHOLE: ClassVar[bool] = True

    secret_refs: Annotated[
        tuple[UsersReference, ...] | None,
        Field(
            min_length=1,
            max_length=16,
            description="Secrets with users, one a line as `htpasswd -s` writes them: `name:{SHA}...`."
            " Must be said.",
        ),
    ] = None
    users: Annotated[
        tuple[User, ...] | None,
        Field(max_length=64, description="Only these of the users may pass. Default: all."),
    ] = None
    realm: Annotated[
        str,
        Field(
            min_length=1,
            max_length=128,
            pattern=r"^[ !#-\[\]-~]+$",
            description="What browsers show when they ask. Default: restricted.",
        ),
    ] = "restricted"
    user_header: Annotated[
        meta.HeaderName,
        Field(
            description="The header in which the backend gets the name. A client's own copy never reaches it."
            " Default: X-Consumer-ID."
        ),
    ] = "X-Consumer-ID"
    consumers: Annotated[
        meta.Bool,
        Field(
            description="`true`: a user is the Consumer of the policy's namespace that has the name among its"
            " `users`, if there is one. Default: false."
        ),
    ] = False
    optional: Annotated[
        meta.Bool,
        Field(
            description="`true`: requests without a password pass too; a wrong one never does."
            " Default: false."
        ),
    ] = False
    forward_credentials: Annotated[
        meta.Bool, Field(description="`true`: the backend gets the password too. Default: false.")
    ] = False
