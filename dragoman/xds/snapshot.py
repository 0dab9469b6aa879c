"""What one node group gets: `Snapshot`, the immutable value, and `View`, which changes and tells its
followers.

The pipeline applies changes to a `View`; sessions follow it. The version of a type is the sum, modulo 2^128,
of a hash of every resource's name and version: it depends on the content alone, so replicas and restarts
agree (rules 42 and 77), and a change costs the change, not the number of resources. `Snapshot` is what
`dragoman snapshot`, tests and the public API see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeVar

import xxhash

from dragoman.resource import SECRET, SHORT, TYPES, Resource
from dragoman.xds.types import Changes, ResourceView, Transitions

T = TypeVar("T")

MODULUS: Final = 1 << 128

_NOTHING: Final[Mapping[str, Resource]] = MappingProxyType({})


def fingerprint(resource: Resource) -> int:
    """What one resource adds to its type's version. 0.3 us."""
    return xxhash.xxh3_128_intdigest(f"{resource.name}\0{resource.version}".encode())


def version_of(total: int) -> str:
    """A sum of fingerprints as the text that goes on the wire: 32 hex digits, never empty."""
    return f"{total % MODULUS:032x}"


@dataclass(frozen=True, slots=True)
class Inconsistency:
    """A resource that refers to one which is not there (rule 68)."""

    type_url: str
    name: str
    missing_type: str
    missing: str

    def __str__(self) -> str:
        return (
            f"{SHORT.get(self.type_url, self.type_url)} {self.name} refers to"
            f" {SHORT.get(self.missing_type, self.missing_type)} {self.missing}, which does not exist"
        )


class Snapshot:
    """type URL -> name -> `Resource`. Immutable; equal when the content is equal."""

    __slots__ = ("_types", "_versions")

    def __init__(self, resources: Iterable[Resource] = ()) -> None:
        types: dict[str, dict[str, Resource]] = {}
        for resource in resources:
            types.setdefault(resource.type_url, {})[resource.name] = resource
        self._types = types
        self._versions: dict[str, str] = {}

    @classmethod
    def _of(cls, types: dict[str, dict[str, Resource]]) -> Snapshot:
        made = cls()
        made._types = types
        return made

    def types(self) -> tuple[str, ...]:
        """The type URLs that have resources, in the order in which a change is sent."""
        known = [t for t in TYPES if self._types.get(t)]
        return tuple(known + sorted(t for t, named in self._types.items() if named and t not in TYPES))

    def names(self, type_url: str | None = None) -> list[str]:
        """Names of one type, sorted; without a type, `CDS/name` of all."""
        if type_url is not None:
            return sorted(self._types.get(type_url, ()))
        return [f"{SHORT.get(t, t)}/{name}" for t in self.types() for name in self.names(t)]

    def get(self, type_url: str, name: str) -> Resource | None:
        return self._types.get(type_url, _NOTHING).get(name)

    def resources(self, type_url: str) -> Mapping[str, Resource]:
        """Name -> resource of one type."""
        return MappingProxyType(self._types.get(type_url, {}))

    def version(self, type_url: str) -> str:
        """As `View.version`: same content, same text."""
        known = self._versions.get(type_url)
        if known is None:
            total = sum(map(fingerprint, self._types.get(type_url, _NOTHING).values()))
            known = self._versions[type_url] = version_of(total)
        return known

    def inconsistencies(self) -> tuple[Inconsistency, ...]:
        """Every reference to a cluster, an endpoint set, a route table or a secret that is not there (rule
        68)."""
        return tuple(dangling(self))

    def __iter__(self) -> Iterator[Resource]:
        for type_url in self.types():
            for name in self.names(type_url):
                yield self._types[type_url][name]

    def __len__(self) -> int:
        return sum(map(len, self._types.values()))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Snapshot):
            return NotImplemented
        return {t: n for t, n in self._types.items() if n} == {t: n for t, n in other._types.items() if n}

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        counts = ", ".join(f"{SHORT.get(t, t)} {len(self._types[t])}" for t in self.types())
        return f"Snapshot({counts})"


def dangling(view: ResourceView | Snapshot, types: Iterable[str] = TYPES) -> Iterator[Inconsistency]:
    """References among `types` that lead nowhere."""
    for type_url in types:
        for resource in view.resources(type_url).values():
            for wanted, names in resource.refs.items():
                there = view.resources(wanted)
                for name in sorted(name for name in names if name not in there):
                    yield Inconsistency(type_url, resource.name, wanted, name)


class View:
    """One group's live resources. Single-threaded: `apply` calls its followers before it returns."""

    def __init__(self, resources: Iterable[Resource] = ()) -> None:
        self._types: dict[str, dict[str, Resource]] = {}
        self._totals: dict[str, int] = {}
        self._versions: dict[str, str] = {}
        self._followers: dict[object, Callable[[Transitions], None]] = {}
        self._observers: dict[object, Callable[[Changes], None]] = {}
        self.apply(changes_of(resources))

    def get(self, type_url: str, name: str) -> Resource | None:
        return self._types.get(type_url, _NOTHING).get(name)

    def resources(self, type_url: str) -> Mapping[str, Resource]:
        """Name -> resource; live, so not to be kept across an `apply`."""
        return self._types.get(type_url, _NOTHING)

    def version(self, type_url: str) -> str:
        """Hash of the type's whole content, 32 hex digits."""
        known = self._versions.get(type_url)
        if known is None:
            known = self._versions[type_url] = version_of(self._totals.get(type_url, 0))
        return known

    def apply(self, changes: Changes) -> Changes:
        """Puts resources in and takes out those given as None, at once; returns what really changed.

        A resource equal to the one there (same version) is no change. O(changes).
        """
        real: dict[str, dict[str, tuple[Resource | None, Resource | None]]] = {}
        for type_url, named in changes.items():
            there = self._types.setdefault(type_url, {})
            total = self._totals.get(type_url, 0)
            moved: dict[str, tuple[Resource | None, Resource | None]] = {}
            for name, new in named.items():
                old = there.get(name)
                if new is None:
                    if old is None:
                        continue
                    del there[name]
                else:
                    if new.type_url != type_url or new.name != name:
                        raise ValueError(f"{new.type_url} {new.name} filed as {type_url} {name}")
                    if old is not None and old.version == new.version:
                        continue
                    there[name] = new
                    total += fingerprint(new)
                if old is not None:
                    total -= fingerprint(old)
                moved[name] = (old, new)
            if moved:
                real[type_url] = moved
                self._totals[type_url] = total % MODULUS
                self._versions.pop(type_url, None)
        done = {t: {name: new for name, (_, new) in moved.items()} for t, moved in real.items()}
        if real:
            for follow in tuple(self._followers.values()):
                follow(real)
            for observe in tuple(self._observers.values()):
                observe(done)
        return done

    def snapshot(self) -> Snapshot:
        """The content as it is now."""
        return Snapshot._of({t: dict(named) for t, named in self._types.items()})

    def subscribe(self, observer: Callable[[Changes], None]) -> Callable[[], None]:
        """Calls `observer` after each applied change; returns the function that ends it."""
        return _enter(self._observers, observer)

    def follow(self, observer: Callable[[Transitions], None]) -> Callable[[], None]:
        """Like `subscribe`, with what was there before."""
        return _enter(self._followers, observer)


class Without:
    """A view in which some types have nothing: what a node sees that may not have secrets (rule 92)."""

    def __init__(self, view: ResourceView, types: frozenset[str] = frozenset({SECRET})) -> None:
        self._view = view
        self._hidden = types

    def get(self, type_url: str, name: str) -> Resource | None:
        return None if type_url in self._hidden else self._view.get(type_url, name)

    def resources(self, type_url: str) -> Mapping[str, Resource]:
        return _NOTHING if type_url in self._hidden else self._view.resources(type_url)

    def version(self, type_url: str) -> str:
        return version_of(0) if type_url in self._hidden else self._view.version(type_url)

    def subscribe(self, observer: Callable[[Changes], None]) -> Callable[[], None]:
        return self._view.subscribe(lambda changes: self._pass(changes, observer))

    def follow(self, observer: Callable[[Transitions], None]) -> Callable[[], None]:
        return self._view.follow(lambda changes: self._pass(changes, observer))

    def _pass(self, changes: Mapping[str, T], observer: Callable[[Mapping[str, T]], None]) -> None:
        seen = {t: named for t, named in changes.items() if t not in self._hidden}
        if seen:
            observer(seen)


def changes_of(resources: Iterable[Resource]) -> Changes:
    """Resources as the change that puts them all in."""
    changes: dict[str, dict[str, Resource | None]] = {}
    for resource in resources:
        changes.setdefault(resource.type_url, {})[resource.name] = resource
    return changes


def _enter(register: dict[object, T], entry: T) -> Callable[[], None]:
    """Adds an entry; returns the function that takes it out, which may be called more than once."""
    key = object()
    register[key] = entry

    def leave() -> None:
        register.pop(key, None)

    return leave
