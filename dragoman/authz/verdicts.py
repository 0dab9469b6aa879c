"""What is found out about a credential: values that pass between the looking up and the answer."""

from __future__ import annotations

from dataclasses import dataclass

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """The request passes. `headers` go to the backend in place of its own, `told` to the client. `open`: it
    does so because nobody could be asked."""

    headers: Pairs = ()
    told: Pairs = ()
    open: bool = False


@dataclass(frozen=True, slots=True)
class Denial:
    """It does not. `error` is for machines, `message` for people; `challenge` is asked for in
    `WWW-Authenticate`, "" for none; `more` stands in the body besides."""

    status: int
    error: str
    message: str
    outcome: str
    """For metrics."""
    challenge: str = ""
    headers: Pairs = ()
    more: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Trouble:
    """Nobody could be asked, or the answer was none. `reason` is one of a few words, for metrics and logs."""

    reason: str


Verdict = Grant | Denial

UNAVAILABLE = Denial(503, "unavailable", "the gateway cannot find out who may pass", "unavailable")
"""It is not the client's fault."""
