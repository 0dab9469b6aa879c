"""The parts of a ClientPolicy about whose address a request comes from."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dragoman.translators.gateway.models import client_http, meta, policy


@meta.shape
class ClientAddress(policy.Section):
    """Where the client's address is taken from, behind proxies that say it in a header. Exactly one of
    `trustedHops`, `trustedNetworks`, `header`. Without it the address is the connection's own, and whatever
    a client says of itself is not believed."""

    WHOLE: ClassVar[bool] = True

    trusted_hops: Annotated[
        int | None,
        Field(
            strict=True,
            ge=1,
            le=255,
            description="So many proxies stand in front, each of which adds the address it sees to"
            " `x-forwarded-for`: the client's is that many entries from its end.",
        ),
    ] = None
    trusted_networks: Annotated[
        tuple[str, ...] | None,
        Field(
            min_length=1,
            max_length=64,
            description="Networks (CIDR) of the proxies in front: the client's address is the last entry of"
            " `x-forwarded-for` that is not of them.",
        ),
    ] = None
    header: Annotated[
        client_http.Header | None,
        Field(description="A header that holds the client's address alone, such as `cf-connecting-ip`."),
    ] = None
    required: Annotated[
        meta.Bool | None,
        Field(description="With `header`: requests without it are answered 403. Default: false."),
    ] = None


@meta.shape
class ProxyProtocol(policy.Section):
    """A load balancer in front says the client's address at the beginning of each connection. It holds for
    the whole port."""

    enabled: Annotated[
        meta.Bool | None, Field(description="Connections begin with a PROXY header. Default: false.")
    ] = None
    versions: Annotated[
        tuple[Literal["V1", "V2"], ...] | None,
        Field(min_length=1, max_length=2, description="Versions that are understood. Default: both."),
    ] = None
    optional: Annotated[
        meta.Bool | None,
        Field(
            description="Let connections in that begin without: anybody who can connect can then say to be"
            " somebody else. Default: false."
        ),
    ] = None
