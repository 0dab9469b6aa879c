"""Where requests go by what their tokens say."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from dragoman.translators.gateway.models import auth_rules, meta, policy


@meta.shape
class Case:
    """Requests whose token meets all of `claims`, and the backends that they go to."""

    claims: Annotated[
        tuple[auth_rules.Claim, ...],
        Field(min_length=1, max_length=16, description="Claims of the token. All of them must hold."),
    ]
    backend_refs: Annotated[
        tuple[meta.BackendRef, ...],
        Field(
            min_length=1,
            max_length=16,
            description="The backends, as in a rule of a route: Services or Backends, with their weights."
            " Those of other namespaces need a ReferenceGrant for AuthPolicies.",
        ),
    ]


@meta.shape
class Routing(policy.Section):
    """Other backends for some clients. It changes where requests go and nothing else: they need the same
    credentials, and everything that routes and policies say holds for them too. For routes and their rules
    only."""

    WHOLE: ClassVar[bool] = True

    by_claim: Annotated[
        tuple[Case, ...],
        Field(
            max_length=16,
            description="The first case that holds decides. Without one requests go to the rule's own"
            " backends.",
        ),
    ] = ()
