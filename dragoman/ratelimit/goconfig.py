"""envoyproxy/ratelimit's configuration files, as they are: YAML in, rules out.

A file is a domain and a tree of descriptors. Everything that the Go service reads is read here with the
same meaning (docs/ratelimit.md has the few differences), and what it turns away is an error with its place.
Beyond that a `rate_limit` may say `algorithm`, `burst`, `delay`, `nodelay`, `count_denied`, `cost` and
`on_error`; files without these count as the Go service counts: fixed windows, denied hits included.

`configuration` holds all files of a folder.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator
from typing import Any, Final

from dragoman.diagnostics import Diagnostic, Severity, Span
from dragoman.ratelimit import numbers, rules, wire
from dragoman.refs import FieldPath
from dragoman.sources import locate, yamlnodes

_ROOT: Final = frozenset({"domain", "descriptors"})
_DESCRIPTOR: Final = frozenset(
    {
        "key",
        "value",
        "rate_limit",
        "descriptors",
        "shadow_mode",
        "quota_mode",
        "detailed_metric",
        "value_to_metric",
        "share_threshold",
        "metadata",
    }
)
_RATE_LIMIT: Final = frozenset(
    {"unit", "unit_multiplier", "requests_per_unit", "unlimited", "name", "replaces", *numbers.KEYS}
)
_REPLACES: Final = frozenset({"name"})
_ALL: Final = _ROOT | _DESCRIPTOR | _RATE_LIMIT

_UINT32: Final = (1 << 32) - 1


@dataclasses.dataclass(frozen=True, slots=True)
class Read:
    """What a file says. `domain` is "" where it says none."""

    domain: str
    rules: tuple[rules.Rule, ...]
    diagnostics: tuple[Diagnostic, ...]
    domain_span: Span | None = None

    @property
    def good(self) -> bool:
        return not any(each.severity is Severity.ERROR for each in self.diagnostics)


def read(
    name: str,
    text: str,
    presentation: rules.Presentation = rules.SILENT,
    on_error: rules.OnError = rules.OnError.OPEN,
) -> Read:
    """Reads one file. `presentation` is what the clients of all its limits are told; `on_error` is for limits
    that say nothing of that."""
    return _Reader(name, text, presentation, on_error).read()


class _Reader:
    """One file on its way. Paths are `FieldPath`s into the document."""

    def __init__(
        self, name: str, text: str, presentation: rules.Presentation, on_error: rules.OnError
    ) -> None:
        self._name = name
        self._text = text
        self._presentation = presentation
        self._on_error = on_error
        self._lines = text.split("\n")
        self._locator = locate.TextLocator(name, 1, text)
        self._found: list[Diagnostic] = []
        self._rules: list[rules.Rule] = []
        self._places: dict[tuple[rules.Match, ...], FieldPath] = {}
        self._domain = ""

    def read(self) -> Read:
        data: Any = None
        try:
            root = yamlnodes.compose(self._text)
            data = yamlnodes.convert(root, len(self._text)) if root is not None else None
        except yamlnodes.Invalid as failure:
            return Read("", (), tuple(self._invalid(problem) for problem in failure.problems))
        if not isinstance(data, dict):
            self._error("DRG1103", "a file of rate limits is a mapping with `domain` and `descriptors`", ())
            return Read("", (), tuple(self._found))
        self._keys(data, (), _ROOT)
        self._domain = self._string(data, (), "domain")
        if not self._domain:
            self._missing(data, (), "domain", "a file of rate limits names its `domain`, which is not empty")
        self._descriptors(data, (), ())
        return Read(self._domain, tuple(self._rules), tuple(self._found), self._span(("domain",), key=False))

    # The tree

    def _descriptors(self, data: dict[str, Any], path: FieldPath, above: tuple[rules.Match, ...]) -> None:
        path = (*path, "descriptors")
        for index, each in self._list(data.get("descriptors"), path):
            here = (*path, index)
            self._keys(each, here, _DESCRIPTOR)
            match = self._match(each, here)
            if match is None:
                continue
            matches = (*above, match)
            same = tuple(rules.Match(m.key, m.value, m.wildcard) for m in matches)
            if (first := self._places.get(same)) is not None:
                self._error(
                    "DRG1901",
                    f"the descriptor `{_composite(match)}` stands here for the second time",
                    (*here, "key"),
                    notes=(self._stands(first),),
                    help="put what both say into one, or give them different values",
                )
                continue
            self._places[same] = (*here, "key")
            self._rule(each, here, matches)
            self._descriptors(each, here, matches)

    def _match(self, data: dict[str, Any], path: FieldPath) -> rules.Match | None:
        key, value = self._string(data, path, "key"), self._string(data, path, "value")
        flags = {
            name: self._flag(data, path, name)
            for name in ("share_threshold", "value_to_metric", "quota_mode")
        }
        if not key:
            self._missing(data, path, "key", "a descriptor has a `key`, which is not empty")
            return None
        wildcard = "*" in value
        if flags["share_threshold"] and not wildcard:
            self._error(
                "DRG1108",
                "`share_threshold` is for values with a `*`: others share nothing",
                (*path, "share_threshold"),
            )
        return rules.Match(
            key,
            value or None,
            wildcard,
            shared=wildcard and flags["share_threshold"],
            measured=flags["value_to_metric"],
        )

    def _rule(self, data: dict[str, Any], path: FieldPath, matches: tuple[rules.Match, ...]) -> None:
        shadow, quota = self._flag(data, path, "shadow_mode"), self._flag(data, path, "quota_mode")
        if self._flag(data, path, "detailed_metric"):
            matches = tuple(
                rules.Match(each.key, each.value, each.wildcard, each.shared, measured=True)
                for each in matches
            )
        metadata = data.get("metadata")
        if metadata is not None and not isinstance(metadata, dict):
            self._error("DRG1103", "`metadata` is a mapping", (*path, "metadata"))
            metadata = None
        given = data.get("rate_limit")
        if given is None:
            if not data.get("descriptors"):
                self._rules.append(rules.Rule(self._domain, matches))  # known, and not limited
            return
        path = (*path, "rate_limit")
        if not isinstance(given, dict):
            self._error("DRG1103", "`rate_limit` is a mapping", path)
            return
        self._keys(given, path, _RATE_LIMIT)
        name = self._string(given, path, "name")
        limit = rules.Limit(
            None,
            name,
            rules.metric(self._domain, matches),
            shadow=shadow,
            quota=quota,
            replaces=self._replaces(given, path, name),
            presentation=self._presentation,
            metadata=metadata,
        )
        unlimited = self._flag(given, path, "unlimited")
        unit = self._string(given, path, "unit")
        if unlimited:
            if unit:
                self._error("DRG1108", "a limit that is `unlimited` has no `unit`", (*path, "unit"))
        else:
            counted = self._counted(given, path, unit.lower(), limit)
            if counted is None:
                return
            limit = counted
        self._rules.append(rules.Rule(self._domain, matches, (limit,)))

    def _counted(
        self, given: dict[str, Any], path: FieldPath, unit: str, limit: rules.Limit
    ) -> rules.Limit | None:
        """The limit with its numbers; None where they are wrong."""
        before = len(self._found)
        seconds = wire.SECONDS.get(unit, 0)
        if not seconds:
            near = difflib.get_close_matches(unit, wire.SECONDS, 1)
            self._error(
                "DRG1106" if unit else "DRG1102",
                f"`{unit}` is no unit of time" if unit else "a limit has a `unit`",
                (*path, "unit"),
                help=f"did you mean `{near[0]}`?" if near else f"units are {', '.join(wire.SECONDS)}",
            )
        requests = self._number(given, path, "requests_per_unit", 0, 0, _UINT32)
        multiplier = self._number(given, path, "unit_multiplier", 1, 1, _UINT32)
        window = max(seconds, 1) * multiplier * 1_000_000
        made = numbers.read(given, requests, window, self._on_error)
        if isinstance(made, numbers.Wrong):
            self._error(made.code, made.message, (*path, made.key), help=made.help)
            return None
        if len(self._found) > before:
            return None
        return rules.Limit(
            made.algorithm,
            limit.name,
            limit.metric,
            limit.policy,
            limit.shadow,
            limit.quota,
            made.on_error,
            made.cost,
            limit.replaces,
            limit.presentation,
            limit.metadata,
        )

    def _replaces(self, given: dict[str, Any], path: FieldPath, own: str) -> frozenset[str]:
        path = (*path, "replaces")
        names = set()
        for index, each in self._list(given.get("replaces"), path):
            self._keys(each, (*path, index), _REPLACES)
            name = self._string(each, (*path, index), "name")
            if not name:
                self._error("DRG1102", "an entry of `replaces` names a limit", (*path, index))
            elif name == own:
                self._error("DRG1108", "a limit cannot replace itself", (*path, index, "name"))
            else:
                names.add(name)
        return frozenset(names)

    # Fields

    def _keys(self, data: dict[str, Any], path: FieldPath, known: frozenset[str]) -> None:
        for key in data:
            if key in known:
                continue
            if key in _ALL:
                self._found.append(
                    Diagnostic(
                        "DRG3001",
                        f"`{key}` has no effect here",
                        path=(*path, key),
                        severity=Severity.WARNING,
                        span=self._span((*path, key), key=True),
                    )
                )
                continue
            near = difflib.get_close_matches(key, known, 1)
            self._error(
                "DRG1101",
                f"the key `{key}` is not known",
                (*path, key),
                key=True,
                help=f"did you mean `{near[0]}`?" if near else f"keys here are {', '.join(sorted(known))}",
            )

    def _list(self, value: Any, path: FieldPath) -> Iterator[tuple[int, dict[str, Any]]]:
        if value is None:
            return
        if not isinstance(value, list):
            self._error("DRG1103", f"`{path[-1]}` is a list", path)
            return
        for index, each in enumerate(value):
            if isinstance(each, dict):
                yield index, each
            else:
                self._error("DRG1103", f"the entries of `{path[-1]}` are mappings", (*path, index))

    def _string(self, data: dict[str, Any], path: FieldPath, key: str) -> str:
        """Any scalar, as it is written: to the Go service `value: 1.0` is the text `1.0`."""
        value = data.get(key)
        if value is None or isinstance(value, str):
            return value or ""
        if isinstance(value, dict | list):
            self._error("DRG1103", f"`{key}` is a text", (*path, key))
            return ""
        span = self._span((*path, key), key=False)
        written = span.text[span.column - 1 : span.end_column - 1].strip()
        return written or str(value)

    def _flag(self, data: dict[str, Any], path: FieldPath, key: str) -> bool:
        value = data.get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        self._error("DRG1103", f"`{key}` is true or false", (*path, key))
        return False

    def _number(
        self, data: dict[str, Any], path: FieldPath, key: str, default: int, least: int, most: int
    ) -> int:
        value = data.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            self._error("DRG1103", f"`{key}` is a whole number", (*path, key))
        elif not least <= value <= most:
            self._error(
                "DRG1104", f"`{key}` is out of range", (*path, key), label=f"expected {least} to {most}"
            )
        else:
            return value
        return default

    # What is wrong

    def _missing(self, data: dict[str, Any], path: FieldPath, key: str, message: str) -> None:
        if not isinstance(data.get(key), dict | list):  # else it has been said
            self._error("DRG1102", message, (*path, key))

    def _error(
        self,
        code: str,
        message: str,
        path: FieldPath,
        *,
        key: bool = False,
        label: str = "",
        help: str = "",
        notes: tuple[str, ...] = (),
    ) -> None:
        span = self._span(path, key=key)
        self._found.append(
            Diagnostic(code, message, path=path, label=label, notes=notes, help=help, span=span)
        )

    def _span(self, path: FieldPath, *, key: bool) -> Span:
        found = self._locator.locate_key(path) if key else self._locator.locate(path)
        if found is None:
            return Span(self._name, 0)
        # Locators hide what could be a Secret's; there are none in these files.
        return dataclasses.replace(found, text=self._lines[found.line - 1])

    def _stands(self, path: FieldPath) -> str:
        return f"it stands first in line {self._span(path, key=False).line}"

    def _invalid(self, problem: yamlnodes.Problem) -> Diagnostic:
        text = self._lines[problem.line - 1] if problem.line <= len(self._lines) else ""
        notes = (f"{problem.related[0]} in line {problem.related[1]}",) if problem.related else ()
        span = Span(self._name, problem.line, problem.column, problem.end, text)
        return Diagnostic(
            problem.code, problem.message, label=problem.label, notes=notes, help=problem.help, span=span
        )


def _composite(match: rules.Match) -> str:
    return match.key if match.value is None else f"{match.key}_{match.value}"
