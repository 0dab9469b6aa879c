"""What an explanation of access has found so far, and the request that it is about. Used by `access` and its
parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from dragoman.ir.match import Compile
from dragoman.ir.request import Prepared, Request

UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
FOUND: Final = 302

Met = bool | None
"""Whether something holds; None: that is not known here."""


@dataclass(slots=True)
class Finding:
    """What was found so far. `refusal`: (status, error, why) of the first that refuses."""

    needs: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    refusal: tuple[int, str, str] | None = None

    def refuse(self, status: int, error: str, why: str) -> None:
        if self.refusal is None:
            self.refusal = (status, error, why)


class Seen:
    """A request, asked for its parts."""

    def __init__(self, request: Request, prepared: Prepared, compile: Compile) -> None:
        self.method = request.method
        self.claims = request.claims
        self.claimed = request.claimed
        self.path = prepared.path
        self.prepared = prepared
        self.compile = compile
        told = any(name.lower() == "x-forwarded-for" for name, _ in request.headers)
        self.client = None if told else request.client
        """None: proxies may report another, whom the listener may trust."""

    def header(self, name: str) -> str | None:
        if name == ":authority":
            return self.prepared.authority
        values = self.prepared.headers.get(name, ())
        return ",".join(values) if values else None

    def cookie(self, name: str) -> bool:
        return any(pair.strip().partition("=")[0] == name for pair in self._cookies())

    def session(self, start: str) -> bool:
        return any(pair.strip().startswith(start) for pair in self._cookies())

    def _cookies(self) -> Iterator[str]:
        for value in self.prepared.headers.get("cookie", ()):
            yield from value.split(";")


def every(several: Iterable[Met]) -> Met:
    """Whether all of them hold."""
    listed = list(several)
    return False if False in listed else None if None in listed else True


def some(several: Iterable[Met]) -> Met:
    """Whether one of them holds."""
    listed = list(several)
    return True if True in listed else None if None in listed else False
