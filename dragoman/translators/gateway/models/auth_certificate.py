"""Client certificates in an AuthPolicy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dragoman.translators.gateway.models import meta, policy


@meta.shape
class ClientCertificate(policy.Section):
    """Requests come with a client certificate, which a ClientPolicy has had checked."""

    consumer_name: Annotated[
        Literal["URI", "DNS"] | None,
        Field(
            description="The first name of this type is that of a Consumer of the policy's namespace, if it"
            " has one. Default: certificates make nobody a Consumer."
        ),
    ] = None
    optional: Annotated[
        meta.Bool | None,
        Field(description="`true`: requests without a certificate pass too. Default: false."),
    ] = None
