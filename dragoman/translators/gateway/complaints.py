"""From a validator's errors to diagnostics: our words, the field's path, the limits, a likely correction.

Only `decode` calls this, and only for documents that failed, so it may take its time. Values are quoted
unless the document is a Secret.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pydantic
from pydantic_core import ErrorDetails

from dragoman.diagnostics import Diagnostic, error
from dragoman.refs import FieldPath, Origin, Ref, format_path
from dragoman.translators.gateway.models import httppolicy_bodies, meta

_FORMS: Final[dict[str, str]] = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text (quote it if it looks like a number)",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "dataclass_type": "a mapping",
}
_KNOWN_TEXT: Final = (
    (meta.Hostname, "a host name in lower case such as `shop.example` or `*.shop.example`"),
    (meta.PreciseHostname, "a host name in lower case such as `shop.example`, without wildcard"),
    (meta.Group, "an API group such as `gateway.networking.k8s.io`, or nothing for the core group"),
    (meta.Kind, "a kind such as `Service`"),
    (meta.Namespace, "a namespace's name: lower case letters, digits and `-`"),
    (meta.SectionName, "a name: lower case letters, digits, `-` and `.`"),
    (meta.HeaderName, "an HTTP header's name"),
    (meta.HeaderValue, "a header's value: visible ASCII, single blanks inside"),
    (
        httppolicy_bodies.ContentType,
        "a content type such as `application/json`, `text/*` or `application/*+json`",
    ),
    (meta.Controller, "a controller's name such as `dragoman.dev/gateway-controller`"),
)


def diagnostics(
    ref: Ref, failure: pydantic.ValidationError, shape: type, base: FieldPath, *, secret: bool
) -> Iterator[Diagnostic]:
    """One diagnostic per error. `shape` is what was expected below `base`."""
    for detail in failure.errors(include_url=False):
        # A list counts only its valid entries: not too short in truth, and its entries are reported already.
        if detail["type"] != "too_short" or len(detail["input"]) < detail["ctx"]["min_length"]:
            yield _one(Origin(ref, base), detail, shape, secret=secret)


def near(name: object, known: typing.Iterable[str]) -> str:
    """`did you mean ...?`, or nothing."""
    found = difflib.get_close_matches(str(name), list(known), 1, 0.6)
    return f"did you mean `{found[0]}`?" if found else ""


def _one(base: Origin, detail: ErrorDetails, shape: type, *, secret: bool) -> Diagnostic:
    path: FieldPath = detail["loc"]
    kind = detail["type"]
    origin = base.at(*path)
    name = _name(path)
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        known = fields(_annotation(shape, path[:-1]))
        label = "" if len(known) > 16 else f"known here: {', '.join(known)}"
        of_reference = path[-1] == "namespace" and "name" in known
        hint = "the namespace of the object itself is meant" if of_reference else near(path[-1], known)
        return error("DRG1101", f"{name} is not a known field", origin, help=hint, label=label)
    if kind == "missing":
        where = f" in {format_path(path[:-1])}" if path[:-1] else ""
        return error("DRG1102", f"{name} is missing{where}", base.at(*path[:-1]), label=f"{name} goes here")
    given = "" if secret else f" {_shown(detail['input'])}"
    if kind in _FORMS and _is_huge(detail["input"]):
        limits = _limits(_annotation(shape, path))
        label = f"expected {_range(limits, 'ge', 'le')}" if "ge" in limits or "le" in limits else "too large"
        return error("DRG1104", f"{name} is out of range", origin, label=label)
    if kind in _FORMS:
        quoted = kind == "int_type" and isinstance(detail["input"], str) and detail["input"].isdigit()
        label = f"expected {_FORMS[kind]}{' (without quotes)' if quoted else ''}"
        if kind == "string_type" and isinstance(detail["input"], bool):
            label = "expected text: quote it, for YAML reads y, n, yes, no, on and off as true or false"
        return error("DRG1103", f"{name}{given} has the wrong type", origin, label=label)
    return _value(origin, detail, _annotation(shape, path), name, given)


def _is_huge(value: object) -> bool:
    """A whole number that only a float could hold when it was read."""
    return isinstance(value, float) and abs(value) >= 1 << 63


def _value(origin: Origin, detail: ErrorDetails, annotation: Any, name: str, given: str) -> Diagnostic:
    kind = detail["type"]
    context: Mapping[str, Any] = detail.get("ctx", {})
    limits = _limits(annotation)
    if kind == "literal_error":
        known = [str(choice) for choice in typing.get_args(_plain(annotation))]
        label = f"expected {_either(known)}"
        return error(
            "DRG1106",
            f"{name}{given} is not supported",
            origin,
            label=label,
            help=near(detail["input"], known),
        )
    if kind in ("greater_than_equal", "less_than_equal"):
        return error(
            "DRG1104",
            f"{name}{given} is out of range",
            origin,
            label=f"expected {_range(limits, 'ge', 'le')}",
        )
    if kind in ("string_too_short", "string_too_long"):
        length = len(str(detail["input"]))
        label = f"expected {_range(limits, 'min_length', 'max_length')} characters"
        return error("DRG1104", f"{name} has {length} characters", origin, label=label)
    if kind in ("too_short", "too_long"):
        label = f"expected {_range(limits, 'min_length', 'max_length')} entries"
        return error(
            "DRG1107", f"{name} has {context.get('actual_length', 'too many')} entries", origin, label=label
        )
    if kind == "string_pattern_mismatch":
        words = _words(context.get("pattern", ""))
        return error("DRG1103", f"{name}{given} is malformed", origin, label=f"expected {words}")
    if kind == "base64":
        return error("DRG1501", f"{name} is not base64", origin, help="plain text goes into `stringData`")
    return error("DRG1103", f"{name}{given} is malformed", origin, label=detail["msg"])


def _name(path: FieldPath) -> str:
    """The field as one would say it: `port`, or `hostnames[1]` for a list's entry."""
    tail: list[str | int] = []
    for step in reversed(path):
        tail.insert(0, step)
        if isinstance(step, str):
            break
    return f"`{format_path(tuple(tail))}`" if tail else "the document"


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "(a mapping)"
    if isinstance(value, list | tuple):
        return "(a list)"
    text = f"`{value}`" if not isinstance(value, bool) else f"`{str(value).lower()}`"
    return text if len(text) <= 80 else f"{text[:76]}...`"


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _range(limits: Mapping[str, int], low: str, high: str) -> str:
    least, most = limits.get(low), limits.get(high)
    if least is None:
        return f"at most {most}"
    return f"{least} to {most}" if most is not None else f"at least {least}"


def _words(pattern: str) -> str:
    for annotation, words in _KNOWN_TEXT:
        if _limits(annotation).get("pattern") == pattern:
            return words
    return f"text that matches {pattern}"


# --- finding the annotation behind a path -------------------------------------------------------------


def _annotation(shape: Any, path: FieldPath) -> Any:
    """The type, with its limits, of the field at `path`; None where the path leads nowhere."""
    here: Any = shape
    for step in path:
        plain = _plain(here)
        if isinstance(step, int):
            here = next(iter(typing.get_args(plain)), None)
        elif dataclasses.is_dataclass(plain):
            here = _hint(plain, step)
        else:
            arguments = typing.get_args(plain)
            here = arguments[1] if len(arguments) == 2 else None
        if here is None:
            return None
    return here


def _plain(annotation: Any) -> Any:
    """Without `Annotated` and without `| None`."""
    while True:
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif origin in (types.UnionType, typing.Union):
            annotation = next(a for a in typing.get_args(annotation) if a is not types.NoneType)
        else:
            return annotation


def _hints(shape: Any) -> Mapping[str, Any]:
    """Document field name -> annotation."""
    hints = typing.get_type_hints(shape, include_extras=True)
    return {alias: hints[name] for name, alias in meta.names(shape).items()}


def _hint(shape: Any, name: str) -> Any:
    return _hints(shape).get(name)


def fields(annotation: Any) -> list[str]:
    plain = _plain(annotation)
    return sorted(_hints(plain)) if dataclasses.is_dataclass(plain) else []


def _limits(annotation: Any) -> dict[str, Any]:
    """`ge`, `le`, `min_length`, `max_length`, `pattern` of an annotation, outermost first."""
    found: dict[str, Any] = {}

    def look(item: Any) -> None:
        origin = typing.get_origin(item)
        if origin is typing.Annotated:
            inner, *notes = typing.get_args(item)
            for note in notes:
                for piece in (note, *getattr(note, "metadata", ())):
                    for key in ("ge", "le", "min_length", "max_length", "pattern"):
                        value = getattr(piece, key, None)
                        if value is not None:
                            found.setdefault(key, value)
            look(inner)
        elif origin in (types.UnionType, typing.Union):
            for part in typing.get_args(item):
                look(part)

    look(annotation)
    return found
