"""Sample requests made of routes' own matches, and texts that match a regular expression.

A sample is checked against the route it was made of; what cannot be sampled (an expression with
look-around, say) is left out and counted by the caller.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, assert_never

from dragoman.ir import model as ir, request as normal
from dragoman.ir.request import Request

_ANY_LABEL: Final = "any"
_ANY_HOST: Final = "any.invalid"
_DEEPER: Final = "any"


def requests(
    listener: ir.Listener, chain: ir.FilterChain, domain: str, match: ir.RouteMatch
) -> list[Request]:
    """Requests that `match` takes on a virtual host of `domain`: its path itself, and one below a prefix.

    Empty where some condition's regular expression gives no example.
    """
    host = host_for(domain)
    headers: list[tuple[str, str]] = [("content-type", "application/grpc")] if match.grpc else []
    for header in match.headers:
        value = None if header.invert else value_for(header.value)
        if value is None and not header.invert:
            return []
        if value is not None:
            headers.append((header.name, value))
    query: list[str] = []
    for parameter in match.query:
        value = value_for(parameter.value)
        if value is None:
            return []
        query.append(f"{parameter.name}={value}")
    suffix = f"?{'&'.join(query)}" if query else ""
    authority = next((value for name, value in headers if name == "host"), host)
    return [
        Request(
            authority=authority,
            path=path + suffix,
            method=match.method or ("POST" if match.grpc else "GET"),
            scheme="http" if chain.tls is None else "https",
            headers=tuple(pair for pair in headers if pair[0] != "host"),
            address=listener.bind.address,
            port=listener.bind.port,
            lot=(match.share or ir.SHARES) - 1,
        )
        for path in paths_for(match.path)
    ]


def host_for(domain: str) -> str:
    """A host name that stands under `domain`."""
    if domain == "*":
        return _ANY_HOST
    return f"{_ANY_LABEL}{domain[1:]}" if domain.startswith("*.") else domain


def paths_for(path: ir.PathMatch) -> Iterator[str]:
    """Paths that match, the plainest first."""
    match path:
        case ir.ExactPath(value):
            yield value
        case ir.SegmentPrefix(value):
            stem = value.rstrip("/")
            yield stem or "/"
            yield f"{stem}/{_DEEPER}"
        case ir.StringPrefix(value):
            yield value
            yield f"{value}{_DEEPER}"
        case ir.RegexPath(pattern):
            yield from (each for each in _examples(pattern) if each[:1] == "/" and _stays(each))
        case _:
            assert_never(path)


def value_for(value: ir.ValueMatch) -> str | None:
    """A header's or parameter's value that matches."""
    match value:
        case ir.Exact(text):
            return text
        case ir.Regex(pattern):
            return example(pattern)
        case ir.Present():
            return "any"
        case _:
            assert_never(value)


def example(pattern: str) -> str | None:
    """A short text that `pattern` matches, or None. Knows what RE2 and Python's syntax have in common."""
    return next(_examples(pattern), None)


def _examples(pattern: str) -> Iterator[str]:
    """One with everything optional in it, one without."""
    try:
        compiled = re.compile(pattern)
        found = [_Example(pattern, times).alternatives() for times in (1, 0)]
    except (re.error, _Unknown, IndexError):
        return
    yield from (each for each in dict.fromkeys(found) if compiled.fullmatch(each))


def _stays(path: str) -> bool:
    """Whether Envoy looks at the path as it stands."""
    return normal.merge_slashes(normal.canonical(path)) == path


class _Unknown(Exception):  # noqa: N818 (an outcome, not a fault)
    """Something that is not sampled."""


class _Example:
    """Reads an expression from left to right and writes what it asks for, what may be `optional` times."""

    _CLASSES: Final = {"d": "0", "w": "a", "s": " ", "D": "a", "W": "-", "S": "a"}

    def __init__(self, pattern: str, optional: int) -> None:
        self._text = pattern
        self._optional = optional
        self._at = 0

    def alternatives(self) -> str:
        """The first alternative; the others are read over."""
        first = self._sequence()
        while self._take("|"):
            self._sequence()
        return first

    def _sequence(self) -> str:
        out: list[str] = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            out.append(self._repeat(self._atom()))
        return "".join(out)

    def _atom(self) -> str:
        char = self._next()
        match char:
            case "^" | "$":
                return ""
            case ".":
                return "a"
            case "\\":
                return self._escaped()
            case "[":
                return self._set()
            case "(":
                return self._group()
            case _:
                return char

    def _escaped(self) -> str:
        char = self._next()
        if char in "bBAzZ":
            return ""
        if char.isalnum() and char not in self._CLASSES:
            raise _Unknown
        return self._CLASSES.get(char, char)

    def _set(self) -> str:
        negated = self._take("^")
        members: list[str] = []
        first = True
        while first or self._text[self._at] != "]":
            first = False
            char = self._next()
            members.append(self._escaped() if char == "\\" else char)
        self._at += 1
        if not negated:
            return members[0]
        return next(char for char in "az09-_~" if not self._in(members, char))

    @staticmethod
    def _in(members: list[str], char: str) -> bool:
        return (
            re.fullmatch(f"[{''.join(re.escape(m) if m != '-' else m for m in members)}]", char) is not None
        )

    def _group(self) -> str:
        if self._take("?"):
            if self._take("P<") or self._take("<"):
                self._at = self._text.index(">", self._at) + 1
            elif not self._take(":"):
                raise _Unknown
        inner = self.alternatives()
        if not self._take(")"):
            raise _Unknown
        return inner

    def _repeat(self, atom: str) -> str:
        times = 1
        if self._take("*") or self._take("?"):
            times = self._optional
        elif self._take("+"):
            times = 1
        elif (found := re.compile(r"\{(\d+)(,\d*)?\}").match(self._text, self._at)) is not None:
            times = int(found[1])
            self._at = found.end()
        else:
            return atom
        self._take("?")
        return atom * times

    def _take(self, text: str) -> bool:
        if self._text.startswith(text, self._at):
            self._at += len(text)
            return True
        return False

    def _next(self) -> str:
        char = self._text[self._at]
        self._at += 1
        return char
