"""User names and passwords (RFC 7617): whom a route lets in. Part of `ir.model`."""

from __future__ import annotations

from dataclasses import dataclass, field

from dragoman.ir.keys import Lookup


@dataclass(frozen=True, slots=True)
class Basic:
    """One of `users`: (name, SHA-1 of its password), sorted, each name once. The backend gets the
    name as `header`, and the password only with `forward`. Without any user nobody passes, but with
    `optional` those who bring no password. `consumers`: whose users are Consumers too."""

    users: tuple[tuple[str, bytes], ...] = field(repr=False)
    realm: str
    header: str
    forward: bool = False
    optional: bool = False
    consumers: Lookup | None = None
