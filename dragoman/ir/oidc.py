"""Logins of browsers by OpenID Connect. Part of `ir.model`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dragoman.ir.backends import ClusterKey, SecretKey

BEARER: Final = ("authorization", "Bearer ")
ID_TOKEN: Final = ("x-dragoman-id-token", "")
"""Where a session's token stands for those who check it: header, and what comes before the token. No client
can send the second."""


@dataclass(frozen=True, slots=True)
class Login:
    """Requests without a session are sent to `authorization`, whose answer comes back to the path
    `callback`; the path `logout` ends the session. `name` sets its cookies apart from those of other logins
    on the same host. Codes are exchanged at the URL `token`, over `cluster`, by a client that proves itself
    with the secret `secret` (`by_header`: in the Authorization header, else in the body). `seal`: the secret
    that cookies are encrypted and signed with. `end_session`: where browsers are sent after logging out, ""
    for the host's root. `id_token`: that is the session's token, else the access token; `checked`: others
    look at it; `forward`: the backend gets it. `bearers`: requests that bring a token of their own need no
    session, since that token is checked. `timeout` in seconds."""

    name: str
    cluster: ClusterKey
    authorization: str
    token: str
    client_id: str
    secret: SecretKey
    seal: SecretKey
    scopes: tuple[str, ...]
    callback: str
    logout: str
    end_session: str = ""
    resources: tuple[str, ...] = ()
    by_header: bool = False
    refresh: bool = True
    id_token: bool = False
    checked: bool = False
    forward: bool = False
    bearers: bool = False
    timeout: float = 5.0

    @property
    def token_header(self) -> tuple[str, str]:
        """Where the session's token stands. Tokens that clients bring cannot be told from an id token that
        is put into the same header, so it has its own unless the backend is to get it."""
        return ID_TOKEN if self.id_token and not self.forward else BEARER
