"""What the filters that write headers for routes have in common: each is an `header_mutation` of its own.

In the connection manager it does nothing, and what it does on a route the route says. Where in the chain it
stands makes the difference between them.
"""

from __future__ import annotations

from typing import Final

from dragoman.envoy.filters import base
from dragoman.proto.envoy.extensions.filters.http.header_mutation import v3 as header_mutation

_NOTHING: Final = base.config(header_mutation.HeaderMutation())


class Mutations:
    """`envoy.filters.http.header_mutation`, under a name of its own. `per_route` gives the mutations."""

    disabled = True

    def config(self) -> base.Config:
        return _NOTHING
