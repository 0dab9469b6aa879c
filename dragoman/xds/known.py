"""What a stream knows of its client: what it has of a name, what it was sent and has not answered, what of
that may not be in use yet. Plain values; `substream` keeps them, `planner` reads them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, Literal

from dragoman.resource import Resource
from dragoman.xds.snapshot import fingerprint


class Unknown(enum.Enum):
    """Nothing is known of what the client has: whatever is there must be sent."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN

Known = Resource | str | None | Literal[Unknown.UNKNOWN]
"""What the client has of a name: what it was sent, the version it reported at reconnect, nothing, or who
knows."""


def same(known: Known, resource: Resource | None) -> bool:
    """Whether the client, having `known`, needs nothing to have `resource`."""
    if known is None or resource is None:
        return known is None and resource is None
    if isinstance(known, Resource):
        return known.version == resource.version
    return known == resource.version


@dataclass(frozen=True, slots=True)
class Flight:
    """A response that the client has not answered. `gone`: those of its names that it removed. `published`:
    when the oldest change in it was made."""

    nonce: str
    version: str
    names: frozenset[str]
    gone: frozenset[str]
    sent_at: float
    published: float | None


@dataclass(frozen=True, slots=True)
class Unproven:
    """Clusters that may not be warm, or listeners that may not be there: sent at `since`, not ACKed."""

    names: frozenset[str]
    since: float


def weight(known: Known) -> int:
    """Its part of the version of all that the client has."""
    return fingerprint(known) if isinstance(known, Resource) else 0
