"""Clients and what they prove themselves by: API keys, and subjects (of tokens, certificates). Part of
`ir.model`.

Routes name sets and never hold a credential: keys come and go without touching routes, and a key that is
taken away is gone at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of a namespace's Consumers, or of the entries of one Secret."""

    namespace: str
    secret: str = ""


@dataclass(frozen=True, slots=True)
class SubjectSet:
    """The subjects of a namespace's Consumers."""

    namespace: str


AnySet = KeySet | SubjectSet


class Shard(NamedTuple):
    """A part of a set (`ir.shards`)."""

    of: AnySet
    number: int


@dataclass(frozen=True, slots=True)
class Client:
    """Whose a credential is. Of a Secret's entry: its name, without groups. `credential` says which of a
    client's keys it is (`namespace/secret/entry`)."""

    id: str
    of: KeySet
    groups: tuple[str, ...] = ()
    plan: str = ""
    credential: str = ""


@dataclass(frozen=True, slots=True)
class Keys:
    """What a shard of a key set holds: (key, whose it is). Never shown."""

    credentials: tuple[tuple[str, Client], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Proof:
    """By what a subject is known: `token` (a claim of an issuer's), `certificate` (a name: `URI`, `DNS`),
    `user` (the name that goes with a password)."""

    kind: str
    by: str = ""
    issuer: str = ""


@dataclass(frozen=True, slots=True)
class Lookup:
    """Consumers of a namespace are recognised by `proof`, of any issuer that the route trusts."""

    namespace: str
    proof: Proof


@dataclass(frozen=True, slots=True)
class Subjects:
    """What a shard of a subject set holds: (how it is known, what it says there, who that is)."""

    namespace: str
    known: tuple[tuple[Proof, str, Client], ...]


Content = Keys | Subjects


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """A key of one of `sets`, in one of `headers`, `params` and `cookies`. Of Consumers only those in
    `consumers` or in one of `groups` pass, where any are said. `optional`: a request without any key passes
    too."""

    sets: tuple[KeySet, ...]
    headers: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()
    consumers: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    optional: bool = False
