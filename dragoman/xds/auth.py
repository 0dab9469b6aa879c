"""Who is at the other end of an xDS stream.

Called by `server`. What a peer may have is decided in `groups`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from dragoman.xds.types import Peer

_SAN: Final = "x509_subject_alternative_name"


class _Context(Protocol):
    def peer(self) -> str: ...

    def auth_context(self) -> Mapping[str, Any]: ...


def peer_of(context: _Context) -> Peer:
    """The peer of a call. SANs are there only for a client certificate that the server's CA vouches for."""
    context_ = context.auth_context()
    sans = tuple(san.decode(errors="replace") for san in context_.get(_SAN, ()))
    return Peer(context.peer(), sans)
