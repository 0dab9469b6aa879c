"""Random changes to configurations that exist: the inputs of the golden folders, the examples, what the docs
show. Whatever people have written there is taken apart and put together wrongly.

`everything` reads them, a `Corpus` mixes some, `Mutator` changes one object or several of such a world. All
of it hangs on the `random.Random` that it is given, so that a seed says everything. Used by `lives`.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

from dragoman.refs import Ref
from dragoman.sources import objects, yamldoc
from tests.property import growth, oddities

ROOT: Final = Path(__file__).parents[2]
_SNIPPET: Final = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)

Body = dict[str, Any]
World = dict[Ref, Body]
Path_ = tuple[str | int, ...]

NAMESPACES: Final = ("default", "shop", "stock", "apps", "nowhere")
LABELS: Final = ({}, {"team": "red"}, {"team": "blue"}, {"app": "x", "team": "red"})
_KEPT: Final = frozenset(
    (("apiVersion",), ("kind",), ("metadata",), ("metadata", "name"), ("metadata", "namespace"))
)
_DURATION: Final = re.compile(r"[0-9.]+(us|ms|s|m|h|d)([0-9]+(ms|s|m))*")
_SIZE: Final = re.compile(r"[0-9.]+([KMGTE]i?)")


@functools.cache
def everything() -> Mapping[str, tuple[Body, ...]]:
    """Every configuration: where it stands, and its objects."""
    files = sorted([*ROOT.glob("tests/golden/*/in.yaml"), *ROOT.glob("examples/*/**/*.yaml")])
    texts = [(path, path.read_text()) for path in files]
    for path in sorted(ROOT.glob("docs/**/*.md")):
        texts += [(path, snippet) for snippet in _SNIPPET.findall(path.read_text())]
    found: dict[str, tuple[Body, ...]] = {}
    for path, text in texts:
        name = str(path.relative_to(ROOT))
        bodies = tuple(_bodies(text))
        if bodies:
            found[name if name not in found else f"{name} {len(found)}"] = bodies
    return found


def _bodies(text: str) -> Iterator[Body]:
    for chunk in yamldoc.split(text):
        try:
            body = yamldoc.parse(chunk.text)
        except yamldoc.Invalid:
            continue
        if isinstance(body, dict):
            yield from (dict(each.body) for each in objects.identify(body, objects.CLUSTER_SCOPED)[0])


class Corpus:
    """What objects and values are taken from: all configurations, or some of them, so that one that is added
    changes nothing elsewhere."""

    def __init__(self, *names: str) -> None:
        self.worlds = [everything()[name] for name in names or everything()]
        self.by_kind: dict[str, list[Body]] = {}
        self._values: dict[str, list[Any]] = {}
        for body in (each for world in self.worlds for each in world):
            self.by_kind.setdefault(body["kind"], []).append(body)
            for path in places(body):
                value = get(body, path)
                if isinstance(path[-1], str) and not isinstance(value, dict | list):
                    values = self._values.setdefault(path[-1], [])
                    if value not in values:
                        values.append(value)

    def values(self, name: str | int) -> Sequence[Any]:
        """What stands in fields of this name."""
        return self._values.get(str(name), ())

    def world(self, rng: Random, most: int = 3) -> World:
        """One configuration, or several that know nothing of one another, as copies."""
        made: World = {}
        for bodies in rng.sample(self.worlds, rng.randint(1, min(most, len(self.worlds)))):
            for body in bodies:
                put(made, copy.deepcopy(body))
        return made


@functools.cache
def corpus() -> Corpus:
    """Of everything."""
    return Corpus()


def identity(body: Body) -> Ref | None:
    """Whose document it is, as sources say it; None: nobody's."""
    found, _ = objects.identify(body, objects.CLUSTER_SCOPED)
    return found[0].ref if found else None


def put(into: World, body: Body) -> Ref | None:
    ref = identity(body)
    if ref is not None:
        into[ref] = body
    return ref


def places(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """The paths of everything in a document but what identifies it."""
    if path and path not in _KEPT:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*path, index))


def get(body: Any, path: Path_) -> Any:
    for step in path:
        body = body[step]
    return body


def put_at(body: Any, path: Path_, value: Any) -> None:
    get(body, path[:-1])[path[-1]] = value


def drop_at(body: Any, path: Path_) -> None:
    del get(body, path[:-1])[path[-1]]


class Mutator:
    """Changes a world in place. Each call says which objects came, changed (with their body) or went
    (None)."""

    def __init__(self, rng: Random, corpus: Corpus) -> None:
        self._rng = rng
        self._corpus = corpus
        self.told: list[str] = []
        """What was done, for whoever has to look into it."""

    def change(self, into: World) -> dict[Ref, Body | None]:
        """One change."""
        rng = self._rng
        if not into or rng.random() < 0.12:
            return self._add(into)
        ref = rng.choice(list(into))
        kind = rng.random()
        if kind < 0.08:
            self.told.append(f"delete {ref}")
            del into[ref]
            return {ref: None}
        if kind < 0.2:
            return self._again(into, ref, keep=rng.random() < 0.6)
        if kind < 0.4:
            return self._grow(into)
        body = copy.deepcopy(into[ref])
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            self._edit(into, ref, body)
        into[ref] = body
        return {ref: body}

    def _add(self, into: World) -> dict[Ref, Body | None]:
        """An object of any configuration, perhaps of a kind that is here."""
        rng = self._rng
        kinds = sorted({ref.kind for ref in into} & self._corpus.by_kind.keys()) if rng.random() < 0.5 else []
        body = copy.deepcopy(
            rng.choice(self._corpus.by_kind[rng.choice(kinds or sorted(self._corpus.by_kind))])
        )
        if rng.random() < 0.5 and "targetRefs" in (body.get("spec") or {}):
            self._retarget(into, body)
        ref = put(into, body)
        self.told.append(f"add {ref}")
        return {ref: body} if ref else {}

    def _again(self, into: World, ref: Ref, *, keep: bool) -> dict[Ref, Body | None]:
        """Under another name or in another namespace, in addition or instead."""
        rng = self._rng
        body = copy.deepcopy(into[ref])
        if rng.random() < 0.7:
            body["metadata"]["name"] = rng.choice((f"{ref.name}-2"[:60], "a", rng.choice(list(into)).name))
        elif ref.namespace:
            body["metadata"]["namespace"] = rng.choice(
                (*NAMESPACES, *(each.namespace or "x" for each in into))
            )
        if rng.random() < 0.4:
            body["metadata"]["creationTimestamp"] = rng.choice(
                ("2026-01-01T00:00:00Z", "2020-01-01T00:00:00Z")
            )
        changes: dict[Ref, Body | None] = {}
        if not keep:
            del into[ref]
            changes[ref] = None
        made = put(into, body)
        self.told.append(f"{'duplicate' if keep else 'rename'} {ref} as {made}")
        if made is not None:
            changes[made] = body
        return changes

    def _grow(self, into: World) -> dict[Ref, Body | None]:
        """An object of our own, or another one like it, with values that nobody has written."""
        rng = self._rng
        kinds = sorted(growth.schemas().keys() & self._corpus.by_kind.keys())
        if not kinds:
            return self._add(into)
        kind = rng.choice(kinds)
        here = [body for ref, body in into.items() if ref.kind == kind and isinstance(body.get("spec"), dict)]
        body = copy.deepcopy(
            rng.choice(here) if here and rng.random() < 0.7 else rng.choice(self._corpus.by_kind[kind])
        )
        ref = identity(body)
        if ref is None or not isinstance(body.get("spec"), dict):
            return {}
        if "targetRefs" in body["spec"] and rng.random() < 0.6:
            self._retarget(into, body)
        ref = identity(body)
        assert ref is not None
        body = growth.grown(rng, ref, body, self._corpus.values)
        self._lead(into, body)
        into[ref] = body
        self.told.append(f"grow {ref}")
        return {ref: body}

    def _lead(self, into: World, body: Body) -> None:
        """References of an object to objects that are there, now and then."""
        for path in list(places(body)):
            value = get(body, path)
            if isinstance(value, dict) and str(path[-1]).endswith("Ref") and self._rng.random() < 0.6:
                known = [ref for ref in into if ref.kind == value.get("kind", "Service")]
                if known:
                    chosen = self._rng.choice(known)
                    value["name"] = chosen.name
                    if "namespace" in value:
                        value["namespace"] = chosen.namespace

    def _edit(self, into: World, ref: Ref, body: Body) -> None:
        rng = self._rng
        kind = rng.random()
        if kind < 0.06:
            body["metadata"]["labels"] = dict(rng.choice(LABELS))
            self.told.append(f"labels {ref}")
        elif kind < 0.09:
            body["metadata"]["creationTimestamp"] = rng.choice(
                ("2026-01-01T00:00:00Z", "2020-01-01T00:00:00Z")
            )
        elif kind < 0.16 and isinstance(body.get("spec"), dict) and "targetRefs" in body["spec"]:
            self._retarget(into, body)
        elif kind < 0.4:
            self._graft(into, ref, body)
        else:
            self._spoil(into, ref, body)

    def _retarget(self, into: World, body: Body) -> None:
        """A policy, to other targets."""
        rng = self._rng
        known = [
            ref
            for ref in into
            if ref.kind.endswith("Route") or ref.kind in ("Gateway", "ListenerSet", "Service", "Backend")
        ]
        if not known:
            return
        chosen = rng.sample(known, min(len(known), rng.randint(1, 2)))
        targets = []
        for ref in chosen:
            target: Body = {"group": ref.group, "kind": ref.kind, "name": ref.name}
            names = [
                each["name"]
                for field in ("listeners", "rules", "ports")
                for each in _list((into[ref].get("spec") or {}), field)
                if isinstance(each, dict) and isinstance(each.get("name"), str)
            ]
            if names and rng.random() < 0.4:
                target["sectionName"] = rng.choice(names)
            targets.append(target)
        body["spec"]["targetRefs"] = targets
        if rng.random() < 0.8 and chosen[0].namespace:
            body["metadata"]["namespace"] = chosen[0].namespace
        self.told.append(f"target {body['kind']} {body['metadata'].get('name')} at {chosen}")

    def _graft(self, into: World, ref: Ref, body: Body) -> None:
        """A field's value of another object of the kind."""
        rng = self._rng
        here = [each for other, each in into.items() if other.kind == ref.kind and other != ref]
        donors = here if here and rng.random() < 0.4 else list(self._corpus.by_kind.get(ref.kind, ()))
        if not donors:
            return
        donor = rng.choice(donors)
        known = [path for path in places(donor) if len(path) > 1]
        if not known:
            return
        # Few of the deep ones, which are many.
        depth = rng.choice((2, 2, 3, 4, 5, 6))
        path = rng.choice([each for each in known if len(each) <= depth] or known)
        value = copy.deepcopy(get(donor, path))
        target: Any = body
        for number, step in enumerate(path[:-1]):
            try:
                target = target[step]
            except (KeyError, IndexError, TypeError):
                # Where it has no such branch, it gets all of it.
                value, path = copy.deepcopy(get(donor, path[: number + 1])), path[: number + 1]
                break
        self.told.append(f"graft {ref} {path}")
        step = path[-1]
        if isinstance(target, list) and isinstance(step, int):
            target.insert(min(step, len(target)), value)
        elif isinstance(target, dict):
            target[step] = value

    def _spoil(self, into: World, ref: Ref, body: Body) -> None:
        """One place in it."""
        rng = self._rng
        known = [path for path in places(body) if path[0] != "metadata" or rng.random() < 0.2]
        if not known:
            return
        path = rng.choice(known)
        value = get(body, path)
        self.told.append(f"spoil {ref} {path}")
        chance = rng.random()
        if chance < 0.12:
            drop_at(body, path)
        elif chance < 0.16:
            put_at(body, path, None)
        elif chance < 0.2:
            put_at(body, path, rng.choice(({}, [], "", 0, True, "x", [None], [{}], {"x": 1}, 1.5, ["a"])))
        elif isinstance(value, dict):
            self._spoil_mapping(value)
        elif isinstance(value, list):
            self._spoil_list(value)
        else:
            put_at(body, path, self._scalar(into, path, value))

    def _spoil_mapping(self, value: Body) -> None:
        rng = self._rng
        if value and rng.random() < 0.3:
            key = rng.choice(list(value))
            value[f"{key}x"] = value.pop(key)
        elif len(value) > 1:
            one, other = rng.sample(list(value), 2)
            value[one], value[other] = value[other], value[one]

    def _spoil_list(self, value: list[Any]) -> None:
        rng = self._rng
        chance = rng.random()
        if not value or chance < 0.15:
            value.clear()
        elif chance < 0.4:
            value.append(copy.deepcopy(rng.choice(value)))
        elif chance < 0.6:
            rng.shuffle(value)
        elif chance < 0.75:
            value.pop(rng.randrange(len(value)))
        elif chance < 0.85:
            value.extend(copy.deepcopy(value[0]) for _ in range(rng.choice((5, 20, 70))))
        else:
            value.insert(0, rng.choice((None, {}, "", 1, [])))

    def _scalar(self, into: World, path: Path_, value: Any) -> Any:
        rng = self._rng
        if isinstance(value, bool):
            return not value
        if isinstance(value, (int, float)):
            return rng.choice(oddities.NUMBERS) if rng.random() < 0.8 else value + rng.choice((-1, 1))
        name = path[-1] if isinstance(path[-1], str) else path[-2] if len(path) > 1 else ""
        if name in ("name", "kind", "namespace", "sectionName") and into and rng.random() < 0.7:
            other = rng.choice(list(into))
            return {"kind": other.kind, "namespace": rng.choice((other.namespace, *NAMESPACES))}.get(
                str(name), other.name
            )
        text = str(value)
        if _DURATION.fullmatch(text) and rng.random() < 0.6:
            return rng.choice(oddities.DURATIONS)
        if _SIZE.fullmatch(text) and rng.random() < 0.6:
            return rng.choice(oddities.SIZES)
        if rng.random() < 0.2:
            return self._sibling(path, value)
        odd = rng.choice(oddities.STRINGS)
        return rng.choice((odd, odd, text + odd, odd + text, text.upper()))

    def _sibling(self, path: Path_, value: Any) -> Any:
        """A value that stands in a field of this name elsewhere: of an enumeration, say."""
        found = self._corpus.values(path[-1])
        return self._rng.choice(found) if found else value


def _list(spec: Any, field: str) -> list[Any]:
    found = spec.get(field) if isinstance(spec, dict) else None
    return found if isinstance(found, list) else []
