"""`Change`: one difference, whatever it is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Change:
    """`change` is added, removed or changed; `type` is what it is about (CDS ... SDS, listener, request,
    endpoints); `details` are lines in words, each one thing that differs."""

    change: str
    type: str
    name: str
    details: tuple[str, ...] = ()

    def data(self) -> dict[str, Any]:
        """JSON-ready; without `details` where there are none."""
        found: dict[str, Any] = {"change": self.change, "type": self.type, "name": self.name}
        return found | ({"details": list(self.details)} if self.details else {})

    def __str__(self) -> str:
        return f"{self.type} {self.name}: {'; '.join(self.details) or self.change}"


def kind(before: object | None, after: object | None) -> str:
    """How a thing that was `before` and is `after` changed; None: not there."""
    if before is None:
        return "added"
    return "removed" if after is None else "changed"
