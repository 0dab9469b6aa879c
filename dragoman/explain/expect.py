"""Expectations of a request's way (`--expect status=404`), checked against an explanation's data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final


def unmet(data: Mapping[str, Any], expectations: Iterable[str]) -> list[str]:
    """One sentence for each expectation (`key=value`) that does not hold for the data of an explanation.

    Raises ValueError for an unknown key or what has no `=`.
    """
    wrong: list[str] = []
    for expectation in expectations:
        key, equals, value = expectation.partition("=")
        if not equals or key not in _ANSWERS:
            raise ValueError(
                f"`{expectation}` is no expectation: KEY=VALUE with KEY one of {', '.join(_ANSWERS)}"
            )
        answers = _ANSWERS[key](data)
        if not any(_meets(key, value, answer) for answer in answers):
            forwarded = key == "status" and data.get("action", {}).get("kind") == "forward"
            found = ", ".join(answers) or ("what the backend answers" if forwarded else "none")
            wrong.append(f"expected {key}={value}, found {found}")
    return wrong


def _meets(key: str, wanted: str, answer: str) -> bool:
    """A route or an object may be given by the beginning of its name."""
    return answer == wanted or (key == "route" and answer.startswith(f"{wanted}/"))


def _known(*values: Any) -> list[str]:
    return [str(value) for value in values if value is not None]


_ANSWERS: Final[Mapping[str, Callable[[Mapping[str, Any]], list[str]]]] = {
    "status": lambda data: _known(data.get("status")),
    "route": lambda data: _known(data.get("route", {}).get("name")),
    "cluster": lambda data: [
        each["name"] for each in data.get("action", {}).get("clusters", ()) if each["name"] and each["weight"]
    ],
    "path": lambda data: _known(data.get("action", {}).get("path")),
    "host": lambda data: _known(data.get("action", {}).get("host")),
    "location": lambda data: _known(data.get("action", {}).get("location")),
    "listener": lambda data: _known(data.get("listener", {}).get("name")),
    "domain": lambda data: _known(data.get("virtual_host", {}).get("domain")),
    "outcome": lambda data: _known(data.get("outcome")),
}
