"""The companion that looks credentials up (`dragoman authz`) as Envoy sees it: its cluster, and the names
that both sides know.

A route tells the companion in context extensions which policies to ask, and which credentials may be missing;
what it finds comes back in two headers, which later filters take off (`filters.clients`, `filters.tokens`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dragoman import resource
from dragoman.envoy import ratelimit_service as services

CLUSTER: Final = "authz"
"""The companion. No object has this name (no slash)."""

INTROSPECTION: Final = "introspection"
KEYS: Final = "keys"
"""Keys of context extensions: the policy that is asked about the token, about the API key."""
OPTIONAL: Final = "optional"
"""Another: which of these two may be missing, with a comma between."""

OPEN: Final = "open"
"""In its dynamic metadata: about which of the two nobody could be asked, so that requests pass."""

TOKEN: Final = "x-dragoman-token"
"""The header with a token's claims: a google.protobuf.Value in base64."""

LARGEST: Final = 8 * 1024 - 1
"""Bytes that such a header may have: what is longer Envoy drops without a word."""


def cluster(place: services.Place) -> resource.Resource:
    """The companion's cluster."""
    return services.cluster(CLUSTER, place, CLUSTER)


def secrets(place: services.Place) -> Iterator[resource.Resource]:
    """Whom Envoys believe there, and what they show."""
    return services.secrets(CLUSTER, place)
