"""The long way through YAML: libyaml's nodes, which know their places, and what Kubernetes makes of them.

Scalars are read as kubectl reads them (sigs.k8s.io/yaml, that is go-yaml v2 and YAML 1.1); `yamldoc` has
the rules in words. Nodes serve three ends: the data of documents that the fast path leaves alone, errors
with line and column, and `locate`, which composes a document again to find the text behind a field.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import yaml

MAX_DEPTH: Final = 100
"""Levels of nesting. Kubernetes objects have a dozen; libyaml's composer overruns the C stack at some ten
thousand.
"""

ALIAS_BUDGET: Final = 100_000
"""How many nodes aliases may add to a document (the "billion laughs")."""

_FOREIGN_TAG: Final = "tags (words that begin with `!`) are not supported here"
"""Does not name the tag: it may be a password that nobody has put in quotes."""

_PLAIN = "dragoman:plain"
_TAG = "tag:yaml.org,2002:"
_STR, _INT, _FLOAT, _BOOL, _NULL = (_TAG + name for name in ("str", "int", "float", "bool", "null"))

WORDS: Final[Mapping[str, bool | float | None]] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
"""Plain scalars that are no strings and no numbers to YAML 1.1."""
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))", re.ASCII)
_DECIMAL = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
# What may nest deeper than `MAX_DEPTH`: many brackets, many block indicators in one line, or a deep
# indentation.
_DEEP = re.compile(rf"(?:[-?:] +){{8}}| {{{MAX_DEPTH},}}")


class Problem(NamedTuple):
    """What is wrong with a text, and where: 1-based line and column within it. `end` is 0 where it is not
    known.

    `related` is another place: what is there ("it stands first"), and its line.
    """

    message: str
    line: int
    column: int
    end: int = 0
    related: tuple[str, int] | None = None
    help: str = ""
    code: str = "DRG1001"
    label: str = ""


class Invalid(Exception):  # noqa: N818 (a document is invalid; nobody erred but its author)
    """Carries the problems of one document out of `compose` and `convert`."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(problems)
        self.problems = problems


class _Loader(yaml.CBaseLoader):
    """Composes without resolving: untagged plain scalars get a tag of their own, for `_scalar` to tell
    them.
    """

    yaml_implicit_resolvers = {None: [(_PLAIN, re.compile(""))]}  # noqa: RUF012 (PyYAML's name and form)


def compose(text: str) -> yaml.Node | None:
    """The root node of one document, None for an empty one. Raises `Invalid`."""
    _check_depth(text)
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as failure:
        raise Invalid(_problem(failure, text)) from None
    except yaml.reader.ReaderError as failure:
        raise Invalid(_unprintable(failure, text)) from None


def convert(root: yaml.Node, size: int) -> Any:
    """Plain data (JSON's types) of a node. `size` is the length of its text. Raises `Invalid` with all
    problems.
    """
    run = _Conversion(ALIAS_BUDGET + size)
    data = run.value(root, 0)
    if run.problems:
        raise Invalid(*run.problems)
    return data


class _Conversion:
    """One document's conversion: what aliases have cost so far, and what was wrong."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.problems: list[Problem] = []

    def value(self, node: yaml.Node, depth: int) -> Any:
        self.budget -= 1
        if self.budget < 0:
            raise Invalid(_at(node, "aliases (`*name`) blow the document up beyond measure"))
        if depth > MAX_DEPTH:
            raise Invalid(_at(node, f"nested deeper than {MAX_DEPTH} levels"))
        match node:
            case yaml.ScalarNode():
                return self.scalar(node)
            case yaml.SequenceNode():
                if node.tag != _TAG + "seq":
                    self.problems.append(_at(node, _FOREIGN_TAG))
                return [self.value(item, depth + 1) for item in node.value]
            case yaml.MappingNode():
                return self.mapping(node, depth)
            case _:
                raise TypeError(node)

    def mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Any]:
        if node.tag != _TAG + "map":
            self.problems.append(_at(node, _FOREIGN_TAG))
        found: dict[str, Any] = {}
        keys: dict[str, yaml.Node] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if is_merge(key_node):
                merged.append(value_node)
                continue
            key = self.key(key_node)
            if key is None:
                continue
            if key in keys:
                self.problems.append(_duplicate(key, keys[key], key_node))
                continue
            keys[key] = key_node
            found[key] = self.value(value_node, depth + 1)
        for source in merged:  # what the mapping says itself comes before what it merges
            for mapping in source.value if isinstance(source, yaml.SequenceNode) else [source]:
                if not isinstance(mapping, yaml.MappingNode):
                    self.problems.append(_at(mapping, "only mappings can be merged by `<<`"))
                    continue
                for key, value in self.value(mapping, depth + 1).items():
                    found.setdefault(key, value)
        return found

    def key(self, node: yaml.Node) -> str | None:
        """Keys are strings; numbers and booleans become their text in JSON, as with kubectl."""
        if not isinstance(node, yaml.ScalarNode):
            self.problems.append(_at(node, "a key is a plain word or a string, not a collection"))
            return None
        match self.scalar(node):
            case str(key):
                return key
            case bool(key):
                return "true" if key else "false"
            case int(key):
                return str(key)
            case float(key):
                return repr(key)
            case _:
                self.problems.append(_at(node, "a key cannot be null"))
                return None

    def scalar(self, node: yaml.ScalarNode) -> Any:
        try:
            value = _scalar(node.tag, node.value)
        except ValueError as failure:
            self.problems.append(_at(node, str(failure)))
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self.problems.append(_at(node, "infinities and NaN are no values that JSON can carry"))
            return None
        return value


def is_merge(key: yaml.Node) -> bool:
    """Whether a key is the merge key `<<` (and not the string `"<<"`)."""
    return key.tag in (_PLAIN, _TAG + "merge") and key.value == "<<"


def key_text(node: yaml.Node) -> str | None:
    """The key as `convert` makes it; None where it makes none."""
    return _Conversion(1).key(node)


def _scalar(tag: str, text: str) -> Any:
    if tag == _STR:
        return text
    if tag == _PLAIN:
        return resolve(text)
    value = resolve(text)
    match tag, value:
        case (_, bool()) if tag == _BOOL:
            return value
        case (_, int()) if tag == _INT and not isinstance(value, bool):
            return value
        case (_, int() | float()) if tag == _FLOAT and not isinstance(value, bool):
            return float(value)
        case (_, None) if tag == _NULL:
            return None
    if tag == _TAG + "timestamp":
        return text
    if tag == _TAG + "binary":
        try:
            return base64.b64decode(text).decode()
        except (binascii.Error, ValueError):
            raise ValueError("the value of `!!binary` is not text in base64") from None
    if tag in (_BOOL, _INT, _FLOAT, _NULL):
        raise ValueError(f"the value is no `{_short(tag)}`")
    raise ValueError(_FOREIGN_TAG)


def resolve(text: str) -> Any:
    """A plain scalar as go-yaml v2 takes it. Infinities and NaN come out as such; the caller refuses them."""
    if text in WORDS:
        return WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    plain = text.replace("_", "") if text[0] != "." else text
    if matched := _INTEGER.fullmatch(plain):
        sign, hexadecimal, binary, octal, decimal = matched.groups()
        number = (
            int(hexadecimal, 16)
            if hexadecimal
            else int(binary, 2)
            if binary
            else int(octal, 8)
            if octal
            else _decimal(decimal)
        )
        number = -number if sign == "-" else number
        # Beyond 64 bits JSON's numbers are floating point.
        return number if -(1 << 63) <= number < 1 << 64 else _floating(number)
    if _DECIMAL.fullmatch(plain):
        return float(plain)
    return text


def _decimal(digits: str) -> int | float:
    return int(digits) if len(digits) < 32 else float(digits)


def _floating(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _check_depth(text: str) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH and _DEEP.search(text) is None:
        return
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.CBaseLoader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    raise Invalid(_at(event, f"nested deeper than {MAX_DEPTH} levels"))
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    except yaml.YAMLError:
        return  # whoever composes says it, with the place


def _at(node: Any, message: str) -> Problem:
    """A problem at a node or an event."""
    start, end = node.start_mark, node.end_mark
    column = end.column + 1 if end.line == start.line else 0
    return Problem(message, start.line + 1, start.column + 1, column, None, _HELP.get(message, ""))


def _duplicate(key: str, first: yaml.Node, second: yaml.Node) -> Problem:
    problem = _at(second, f"the key `{key}` stands here for the second time")
    return problem._replace(related=("it stands first", first.start_mark.line + 1), code="DRG1007")


def _short(tag: str) -> str:
    return "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag


_HELP = {
    "found character that cannot start any token": "quote the value if it begins with one of @ ` % or a tab",
    "mapping values are not allowed in this context": "quote what contains `: `, or look at the indentation",
    "did not find expected key": "look at the indentation of this line and of the lines before it",
    "did not find expected '-' indicator": "the items of a list begin in the same column",
    "could not find expected ':'": "a key is followed by a colon and a space",
    "found unexpected end of stream": "a quote or a bracket is never closed",
    _FOREIGN_TAG: "quote the value if it is meant as text",
    "found undefined alias": "a value that begins with `*` must be quoted",
    "did not find expected <document start>": "a line `---` stands between two documents",
}


def _problem(failure: yaml.MarkedYAMLError, text: str) -> Problem:
    mark = failure.problem_mark or failure.context_mark
    said = failure.problem or failure.context or "not valid YAML"
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    hint = _HELP.get(said, "")
    lines = text.split("\n")
    if line > len(lines) or (line == len(lines) and not lines[-1]):  # behind the end: point to the last line
        line = max(len(text.rstrip().split("\n")), 1)
        column = len(lines[line - 1].rstrip()) + 1
    here = lines[line - 1]
    if "\t" in here[: len(here) - len(here.lstrip())]:
        said, hint = "the line is indented with a tab", "YAML is indented with spaces"
    related = None
    if failure.context and failure.context_mark:
        begin = failure.context_mark.line + 1
        if begin < line:  # libyaml puts the beginning of what it has not found behind the end
            related = (f"{failure.context}, which begins", begin)
    return Problem(said, line, column, 0, related, hint)


def _unprintable(failure: yaml.reader.ReaderError, text: str) -> Problem:
    before = text.encode("utf-8", "surrogatepass")[: failure.position].decode("utf-8", "replace")
    line = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1) + 1
    return Problem(
        f"the character U+{failure.character:04X} is not allowed in YAML", line, column, column + 1
    )
