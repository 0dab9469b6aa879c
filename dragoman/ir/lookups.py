"""Credentials that are looked up: tokens where they were issued (RFC 7662), API keys in Redis. Part of
`ir.model`.

A route says that it is asked and by which policy, and what is told to the backend; how it is asked is told to
the service that does so (`Introspector`, `KeyReader`, `Members`), secrets included. So a renewed secret
touches no route.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dragoman.ir.keys import Client, Lookup


@dataclass(frozen=True, slots=True)
class Places:
    """Where a credential may be, in this order. `headers`: (lower-case name, what stands before it)."""

    headers: tuple[tuple[str, str], ...] = ()
    params: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Introspection:
    """Requests bring a token that is active. `policy`: namespace/name of who knows how to ask; `at`: who is
    asked, for people; `headers`: what the backend is told, in lower case. `optional`: a request without a
    token passes too; `fail_open`: so does any while nobody can be asked. `consumers`: by which claim a
    Consumer is known. `forward`: the backend gets the token."""

    policy: str
    at: str
    headers: tuple[str, ...] = ()
    optional: bool = False
    fail_open: bool = False
    consumers: Lookup | None = None
    places: Places = Places()
    forward: bool = True


@dataclass(frozen=True, slots=True)
class RedisKeys:
    """Requests bring an API key that Redis knows, which the backend does not get. `optional` and `fail_open`
    as of tokens."""

    policy: str
    fail_open: bool = False
    optional: bool = False
    places: Places = Places()


@dataclass(frozen=True, slots=True)
class Introspector:
    """How to ask for a token. `post`: client credentials in the body instead of `Authorization`. `issuer`
    and `audiences`: what the answer must say of them, where anything is said. `claims`: (header towards the
    backend, claim). Seconds: `ttl` (an active token is believed), `negative` (one that is not), `timeout`."""

    policy: str
    endpoint: str
    client_id: str
    client_secret: str = field(repr=False)
    places: Places
    post: bool = False
    issuer: str = ""
    audiences: tuple[str, ...] = ()
    claims: tuple[tuple[str, str], ...] = ()
    ttl: float = 300.0
    negative: float = 10.0
    timeout: float = 2.0
    fail_open: bool = False


@dataclass(frozen=True, slots=True)
class KeyReader:
    """How to look for an API key: among those of `namespace`. Only `consumers` and members of `groups` pass,
    where any are said."""

    policy: str
    namespace: str
    places: Places
    consumers: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    fail_open: bool = False


@dataclass(frozen=True, slots=True)
class Members:
    """Some of a namespace's Consumers, whom records of API keys may name."""

    namespace: str
    clients: tuple[Client, ...]


Asked = Introspector | KeyReader | Members
"""What the service is told: of one policy, or of clients."""
