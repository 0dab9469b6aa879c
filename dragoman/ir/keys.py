"""API keys: what a route asks for, and who has which key. Part of `ir.model`.

Routes name sets of keys and never hold one: keys come and go without touching routes, and a key that is taken
away is gone at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of a namespace's Consumers, or of the entries of one Secret."""

    namespace: str
    secret: str = ""


@dataclass(frozen=True, slots=True)
class Client:
    """Whose a key is. Of a Secret's entry: its name, without groups."""

    id: str
    of: KeySet
    groups: tuple[str, ...] = ()
    plan: str = ""


@dataclass(frozen=True, slots=True)
class Keys:
    """The content of a key set: (key, whose it is). Never shown."""

    credentials: tuple[tuple[str, Client], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """A key of one of `sets`, in one of `headers`, `params` and `cookies`. Of Consumers only those in
    `consumers` or in one of `groups` pass, where any are said."""

    sets: tuple[KeySet, ...]
    headers: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()
    consumers: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
