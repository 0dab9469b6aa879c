"""The life of a pipeline under random changes (`chaos`), and what must hold of it at any moment.

- It has what a new pipeline makes of the same documents: resources, statuses, diagnostics. What lingers is
  let go first.
- An object that became bad has its last good form; a policy that was never good closes what it was to
  protect.
- Nothing refers to what is not there, and every diagnostic says what is wrong, and where.

`Life` is used by `test_chaos.py` here and in `tests/envoy`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from random import Random
from typing import Any, Final

from dragoman import config, explain
from dragoman.diagnostics import text
from dragoman.document import Document
from dragoman.envoy import dump as xds_dump
from dragoman.graph.pipeline import Pipeline
from dragoman.ir import dump as ir_dump
from dragoman.refs import Ref
from dragoman.sources.base import Update
from dragoman.translators import base
from dragoman.translators.gateway import decode
from dragoman.xds.snapshot import Snapshot
from tests.property import chaos
from tests.property.chaos import Body

FETCHED: Final = (
    None,
    base.Fetched(error="refused"),
    base.Fetched("nonsense"),
    base.Fetched("[]"),
    base.Fetched('{"keys": [{}]}'),
    base.Fetched('{"issuer": "https://a", "jwks_uri": "https://a/k", "token_endpoint": "https://a/t"}'),
)
PATHS: Final = ("/", "/a", "/a/../b", "/%2e", "/a?x=1", "/a%zz", "/é", "//")
_AGES: Final = 10_000.0
"""Seconds after which nothing lingers."""


class Life:
    """One pipeline, from a world of `corpus` on."""

    def __init__(self, rng: Random, corpus: chaos.Corpus) -> None:
        self.rng = rng
        self.mutator = chaos.Mutator(rng, corpus)
        self.world = corpus.world(rng)
        self._settings = settings(rng)
        self._now = 0.0
        self.pipeline = Pipeline(self._settings, clock=lambda: self._now)
        self.pipeline.activate("*")
        self.good: dict[Ref, Body] = {}
        self.closing: dict[Ref, Body] = {}
        """What stands for objects that were never good."""
        self.bad: dict[Ref, Body] = {}
        self._fetched: dict[str, base.Fetched] = {}
        started = list(self.world.items())
        rng.shuffle(started)
        self._apply(dict(started))

    @property
    def snapshot(self) -> Snapshot:
        return self.pipeline.groups["*"].snapshot()

    def change(self, *, valid: bool = False) -> None:
        """One change or some, committed together; time passes. `valid`: mostly of what Envoy hears of."""
        changes: dict[Ref, Body | None] = {}
        for _ in range(self.rng.choice((1, 1, 1, 2, 5))):
            changes |= self._drawn(tries=6 if valid else 1)
        if self.rng.random() < 0.3:
            self._fetch()
        self._apply(changes)
        self._now += self.rng.choice((0, 0, 1, 30, 100))
        if self.rng.random() < 0.3:
            self.pipeline.expire()

    def spoil(self) -> None:
        """One object becomes nonsense: Envoy gets what it had, and no other object's status changes."""
        known = [ref for ref in self.good if ref.group and ref not in self.bad]
        if not known:
            return
        ref = self.rng.choice(known)
        resources, statuses = content(self.snapshot), self._statuses(ref)
        self._apply({ref: {**self.good[ref], "spec": {"nonsense": [1]}}})
        if ref in self.bad:
            assert content(self.snapshot) == resources, self.told
            assert self._statuses(ref) == statuses, self.told

    def check(self) -> None:
        """Holds it against a new one."""
        self._age(self.pipeline)
        fresh = Pipeline(self._settings, clock=lambda: self._now)
        fresh.activate("*")
        for part in (self.good, self.closing, self.bad):
            found = list(part.items())
            self.rng.shuffle(found)
            fresh.load(_document(*each) for each in found)
        for url, fetched in self._fetched.items():
            fresh.put_fetched(url, fetched)
        fresh.commit()
        self._age(fresh)
        kept, new = content(self.snapshot), content(fresh.groups["*"].snapshot())
        assert {key for key in kept.keys() | new.keys() if kept.get(key) != new.get(key)} == set(), self.told
        assert self.pipeline.statuses() == fresh.statuses(), self.told
        assert self.pipeline.diagnostics() == fresh.diagnostics(), self.told
        assert self.snapshot.inconsistencies() == (), self.told
        for diagnostic in self.pipeline.diagnostics():
            assert diagnostic.message, diagnostic
            assert diagnostic.ref or diagnostic.span, diagnostic

    def look(self) -> None:
        """What people can see of it can be shown."""
        view = self.pipeline.view()
        ir_dump.view(view)
        for each in self.snapshot:
            xds_dump.to_dict(each)
        text.report(self.pipeline.diagnostics(), self.pipeline.locate)
        hosts = sorted({name for found in view.hosts.values() for name in found}) or ["a.test"]
        for _ in range(5):
            request = explain.Request(
                authority=self.rng.choice(hosts).replace("*", "q") or "q",
                path=self.rng.choice(PATHS),
                method=self.rng.choice(("GET", "POST", "OPTIONS")),
                scheme=self.rng.choice(("http", "https")),
                port=self.rng.choice(sorted({bind.port for bind in view.listeners}) or [80]),
            )
            explain.lines(explain.explain_request(view, request))

    @property
    def told(self) -> str:
        """What was done last, for whoever looks into a failure."""
        return "\n".join(self.mutator.told[-8:])

    def _apply(self, changes: Mapping[Ref, Body | None]) -> None:
        documents = [_document(ref, body) for ref, body in changes.items() if body is not None]
        gone = tuple(ref for ref, body in changes.items() if body is None)
        self.pipeline.apply(Update(upserts=tuple(documents), deletes=gone))
        self.pipeline.commit()
        for ref, body in changes.items():
            self.bad.pop(ref, None)
            if body is None:
                for known in (self.good, self.closing):
                    known.pop(ref, None)
            else:
                self._note(ref, copy.deepcopy(body))

    def _note(self, ref: Ref, body: Body) -> None:
        decoded = decode.decode(_document(ref, body)) if (ref.group, ref.kind) in decode.KINDS else None
        if decoded is None or decoded.object is not None:
            self.good[ref] = body
            self.closing.pop(ref, None)
            return
        self.bad[ref] = body
        if decoded.fallback is not None and ref not in self.good:
            self.closing[ref] = body

    def _drawn(self, tries: int) -> Mapping[Ref, Body | None]:
        """A change; the first that is valid of several."""
        before = dict(self.world)
        drawn = self.mutator.change(self.world)
        while (tries := tries - 1) and not all(
            body is None or _valid(ref, body) for ref, body in drawn.items()
        ):
            self.world.clear()
            self.world.update(before)
            drawn = self.mutator.change(self.world)
        return drawn

    def _fetch(self) -> None:
        for url in list(self.pipeline.wanted):
            found = self.rng.choice(FETCHED)
            self.pipeline.put_fetched(url, found)
            self._fetched.pop(url, None)
            if found is not None:
                self._fetched[url] = found

    def _age(self, pipeline: Pipeline) -> None:
        for _ in range(3):
            self._now += _AGES
            pipeline.expire()

    def _statuses(self, but: Ref) -> dict[Ref, Any]:
        return {ref: status for ref, status in self.pipeline.statuses().items() if ref != but}


def settings(rng: Random) -> config.Settings:
    """Some that make other resources of the same."""
    return config.Settings(
        gateways=config.Gateways(
            scoped_hosts=rng.choice((0, 1, 100, 100)),
            discovered_chains=rng.random() < 0.2,
            lazy_clusters=rng.random() < 0.2,
            addresses=rng.choice(("shared", "shared", "per-gateway")),
        )
    )


def content(snapshot: Snapshot) -> dict[tuple[str, str], tuple[str, bytes]]:
    """What Envoy gets, to be compared."""
    return {(each.type_url, each.name): (each.version, each.payload) for each in snapshot}


def _valid(ref: Ref, body: Body) -> bool:
    known = (ref.group, ref.kind) in decode.KINDS
    return known and decode.decode(_document(ref, body)).object is not None


def _document(ref: Ref, body: Body) -> Document:
    return Document(ref, copy.deepcopy(body))
