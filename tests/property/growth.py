"""Objects of Dragoman's own kinds that nobody has written: made of their schemas (`manifests/crds`), with
values at the limits, and repaired until they are valid. What is valid must be taken by Envoy.

Used by `chaos.Mutator`. `grow` makes the value of a schema, `grown` a whole body.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import yaml

from dragoman.document import Document
from dragoman.refs import Ref
from dragoman.translators.gateway import decode
from tests.property import oddities

CRDS: Final = Path(__file__).parents[2] / "manifests" / "crds"

Json = dict[str, Any]
Known = Callable[[str | int], Sequence[Any]]
"""Values that stand in fields of this name somewhere."""

_REPAIRS: Final = 12


@functools.cache
def schemas() -> Mapping[str, Json]:
    """The schema of `spec` by kind."""
    found = {}
    for path in sorted(CRDS.glob("*.yaml")):
        spec = yaml.safe_load(path.read_text())["spec"]
        body = spec["versions"][0]["schema"]["openAPIV3Schema"]
        found[spec["names"]["kind"]] = body["properties"]["spec"]
    return found


def grown(rng: Random, ref: Ref, body: Json, known: Known) -> Json:
    """The body with some more fields; valid, or None where it cannot be repaired. Targets stay."""
    schema = schemas()[ref.kind]
    spec = dict(body["spec"]) if rng.random() < 0.5 else {}
    kept = {name: body["spec"][name] for name in ("targetRefs", "targetSelectors") if name in body["spec"]}
    names = [name for name in schema["properties"] if name not in kept]
    for name in rng.sample(names, min(len(names), rng.choice((1, 1, 2, 4)))):
        spec[name] = grow(rng, schema["properties"][name], name, known)
    for name in schema.get("required", ()):
        spec.setdefault(name, grow(rng, schema["properties"][name], name, known))
    return repaired(ref, {**body, "spec": {**spec, **kept}})


def repaired(ref: Ref, body: Json) -> Json:
    """Without what the decoder complains of, as long as that helps."""
    for _ in range(_REPAIRS):
        findings = decode.decode(Document(ref, body)).diagnostics
        if not findings:
            break
        for finding in reversed(findings):
            _drop(body, finding.path)
    return body


def _drop(body: Any, path: tuple[str | int, ...]) -> None:
    """What stands at `path`; its nearest ancestor below `spec` where nothing does."""
    steps = list(path)
    while len(steps) > 1:
        at: Any = body
        try:
            for step in steps[:-1]:
                at = at[step]
            del at[steps[-1]]  # type: ignore[arg-type]
            return
        except (KeyError, IndexError, TypeError):
            steps.pop()


def grow(rng: Random, schema: Json, name: str, known: Known, depth: int = 0) -> Any:
    """A value of a schema."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return rng.choice(known(name) or ({},))
    match schema.get("type"):
        case "object":
            return _object(rng, schema, known, depth)
        case "array":
            least = schema.get("minItems", 0)
            most = min(schema.get("maxItems", 3), rng.choice((1, 1, 2, 3)))
            number = max(least, most)
            return [grow(rng, schema["items"], name, known, depth + 1) for _ in range(number)]
        case "boolean":
            return rng.random() < 0.7
        case "integer" | "number" as kind:
            return _number(rng, schema, kind == "integer")
        case _:
            return _text(rng, schema, name, known)


def _object(rng: Random, schema: Json, known: Known, depth: int) -> Json:
    fields = schema.get("properties")
    if fields is None:
        inner = schema.get("additionalProperties")
        return (
            {rng.choice(("a", "b-c")): grow(rng, inner, "", known, depth + 1)}
            if isinstance(inner, dict)
            else {}
        )
    chance = rng.choice((0.25, 0.5, 0.8)) if depth < 4 else 0.1
    needed = schema.get("required", ())
    chosen = [each for each in fields if each in needed or (each != "disabled" and rng.random() < chance)]
    if not chosen and fields:
        chosen = [rng.choice(list(fields))]
    return {each: grow(rng, fields[each], each, known, depth + 1) for each in chosen}


def _number(rng: Random, schema: Json, whole: bool) -> Any:
    low, high = schema.get("minimum", 0), schema.get("maximum", 2**32 - 1)
    within = [each for each in (low, high, low + 1, high - 1, 1, 2, 10, 100, 1000) if low <= each <= high]
    return rng.choice(within) if whole else float(rng.choice(within))


def _text(rng: Random, schema: Json, name: str, known: Known) -> str:
    if "enum" in schema:
        return rng.choice(schema["enum"])  # type: ignore[no-any-return]
    pattern = re.compile(schema.get("pattern", ""))
    least, most = schema.get("minLength", 0), schema.get("maxLength", 1024)
    usual = [str(each) for each in known(name)]
    candidates = [*usual, *oddities.PLAUSIBLE] if rng.random() < 0.5 or not usual else usual
    fitting = [each for each in candidates if pattern.search(each) and least <= len(each) <= most]
    if not fitting:
        return "a"
    found = rng.choice(fitting)
    longest = (found * (most // max(1, len(found))))[:most]
    return longest if rng.random() < 0.03 and pattern.search(longest) else found
