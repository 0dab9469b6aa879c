"""Layers of policies into one, field by field: the more specific one wins each field that it says.

Specs are merged as shapes (`models.policy`), not as YAML, so that a merged spec has the same types as one
that somebody wrote. `Merged` remembers which policy said each field: `explain` shows it, and diagnostics
about a merged spec stand at the field of the policy that said it.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from dragoman.ir import model as ir
from dragoman.refs import FieldPath, Origin, Ref
from dragoman.translators.gateway.models import meta, policy

S = TypeVar("S", bound=policy.Policy)

_QUIET: Final = "(not shown)"
"""In place of a value that may be a secret."""
_OWN: Final = frozenset(field.name for field in dataclasses.fields(policy.Policy))


@dataclass(frozen=True, slots=True, eq=False)
class Layer(Generic[S]):
    """One policy. Equal to itself alone: made anew whenever its object changes, so identity is content."""

    ref: Ref
    spec: S


@dataclass(frozen=True, slots=True, eq=False)
class Merged(Generic[S]):
    """Several layers as one. `says`: each field that somebody says -> the policy that said it."""

    spec: S
    says: Mapping[FieldPath, Ref]
    said: tuple[ir.Said, ...]

    def origin(self, *path: str | int) -> Origin | None:
        """Where a field was said, or the first one said below it; None where nobody said it."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.says:
                return Origin(self.says[path[:end]], ("spec", *path))
        below = (at for at in self.says if at[: len(path)] == path)
        first = next(below, None)
        return Origin(self.says[first], ("spec", *path)) if first is not None else None

    def sayers(self, wanted: Iterable[FieldPath]) -> tuple[Ref, ...]:
        """The policies that said fields at or below `wanted`, the most general first."""
        starts = tuple(wanted)
        found = {ref for at, ref in self.says.items() if any(at[: len(one)] == one for one in starts)}
        return tuple(ref for ref in dict.fromkeys(self.says.values()) if ref in found)


@functools.lru_cache(maxsize=16384)
def merge(layers: tuple[Layer[S], ...]) -> Merged[S]:
    """`layers` as one, the most general first; at least one. The same layers give the same object."""
    start = max((at for at, layer in enumerate(layers) if layer.spec.mode == "Replace"), default=0)
    first, *others = layers[start:]
    says: dict[FieldPath, Ref] = dict.fromkeys(_leaves(first.spec), first.ref)
    spec: Any = first.spec
    for layer in others:
        spec = _fold(spec, layer.spec, (), layer.ref, says)
    ordered = {
        at: ref for ref in (layer.ref for layer in layers) for at, sayer in says.items() if sayer == ref
    }
    said = tuple(
        ir.Said(".".join(map(str, at)), _value(spec, at), Origin(ref, ("spec", *at)))
        for at, ref in ordered.items()
    )
    return Merged(spec, ordered, said)


def _fold(below: Any, above: Any, path: FieldPath, ref: Ref, says: dict[FieldPath, Ref]) -> Any:
    """`above` over `below`, both of one shape."""
    values = {field.name: getattr(below, field.name) for field in dataclasses.fields(below)}
    for name, alias in meta.names(_shape(above)).items():
        if not path and name in _OWN:
            continue
        given = getattr(above, name)
        here = (*path, alias)
        if given is None:
            continue
        present = values[name]
        if present is not None and type(present) is type(given) and _merges(given):
            values[name] = _fold(present, given, here, ref, says)
            continue
        if isinstance(present, dict) and _named(given):
            values[name] = _fold_named(present, given, here, ref, says)
            continue
        values[name] = given
        for at in [at for at in says if at[: len(here)] == here]:
            del says[at]
        says.update(dict.fromkeys((*_leaves(given, here),), ref))
    if values.get("disabled") and getattr(above, "disabled", None) is None:
        values["disabled"] = None  # said again by someone more specific: on
        says.pop((*path, "disabled"), None)
    return type(below)(**values)


def _fold_named(
    below: Mapping[str, Any], above: Mapping[str, Any], path: FieldPath, ref: Ref, says: dict[FieldPath, Ref]
) -> dict[str, Any]:
    """Sections by name: those of one name merge, others are added."""
    values = dict(below)
    for name, given in above.items():
        here = (*path, name)
        if name in values:
            values[name] = _fold(values[name], given, here, ref, says)
        else:
            values[name] = given
            says.update(dict.fromkeys(_leaves(given, here), ref))
    return values


def _named(value: Any) -> bool:
    """Whether it is a mapping from names to sections."""
    return isinstance(value, dict) and bool(value) and all(map(_merges, value.values()))


def _merges(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not getattr(value, policy.WHOLE, False)


def _leaves(value: Any, path: FieldPath = ()) -> Iterator[FieldPath]:
    """The fields that are said: scalars, lists and whole shapes."""
    if path and _named(value):
        for name, section in value.items():
            yield from _leaves(section, (*path, name))
        return
    if path and not _merges(value):
        yield path
        return
    empty = True
    for name, alias in meta.names(_shape(value)).items():
        given = getattr(value, name)
        if given is not None and (path or name not in _OWN):
            empty = False
            yield from _leaves(given, (*path, alias))
    if empty and path:
        yield path


def _shape(value: object) -> Any:
    return type(value)


def _value(spec: Any, path: FieldPath) -> str:
    """The value of a field in words."""
    duration = False
    for step in path:
        if isinstance(spec, dict):
            spec = spec[step]
            continue
        name = next(name for name, alias in meta.names(_shape(spec)).items() if alias == step)
        if name in meta.quiet(_shape(spec)):
            return _QUIET
        duration = name in _durations(_shape(spec))
        spec = getattr(spec, name)
    return _shown(spec, duration)


def _shown(value: Any, duration: bool = False) -> str:
    """Specs refer to secrets; what may hold one itself (`repr=False`) is not shown."""
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.10g}{'s' if duration else ''}"
        case tuple():
            return ", ".join(map(_shown, value)) or "none"
        case dict():
            return ", ".join(f"{key}={_shown(item)}" for key, item in value.items())
        case _ if dataclasses.is_dataclass(value):
            known = _durations(_shape(value))
            quiet = meta.quiet(_shape(value))
            said = ((name, alias, getattr(value, name)) for name, alias in meta.names(_shape(value)).items())
            shown = (
                f"{alias}: {_QUIET if name in quiet else _shown(item, name in known)}"
                for name, alias, item in said
                if item is not None
            )
            return f"{{{', '.join(shown)}}}"
        case _:
            return str(value)


@functools.cache
def _durations(shape: Any) -> frozenset[str]:
    """The fields that are seconds."""
    hints = typing.get_type_hints(shape, include_extras=True)
    return frozenset(name for name, hint in hints.items() if _lasts(hint))


def _lasts(hint: Any) -> bool:
    return hint in (meta.Duration, meta.Window) or any(_lasts(part) for part in typing.get_args(hint))
