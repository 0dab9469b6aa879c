"""The whole pipeline against itself from scratch.

A small world of documents is edited at random, groups come and go, and after every commit the snapshot of
each active group must equal, byte for byte, that of a new pipeline that reads the same documents at once, in
another order. Statuses, diagnostics, and what followers of the live views were told must agree as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dragoman.document import Document
from dragoman.graph.pipeline import Pipeline
from dragoman.refs import Ref
from dragoman.resource import Resource
from dragoman.sources.base import Update
from tests.harness import manifests
from tests.property import documents
from tests.property.documents import Body

GROUPS = ("*", "shop/edge", "shop/edge,shop/inner", "stock/*")

some = st.sampled_from


def document(body: Body) -> Document:
    meta = body["metadata"]
    group = body["apiVersion"].rpartition("/")[0]
    return Document(Ref(group, body["kind"], meta.get("namespace", ""), meta["name"]), body)


def content(resources: Mapping[tuple[str, str], Resource]) -> dict[tuple[str, str], tuple[str, bytes]]:
    return {key: (item.version, item.payload) for key, item in resources.items()}


class Incremental(RuleBasedStateMachine):
    """Documents come, change, break and go; groups are activated and dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.pipeline = Pipeline()
        self.documents: dict[Ref, Document] = {}
        self.broken: set[Ref] = set()
        self.followed: dict[str, dict[tuple[str, str], Resource]] = {}
        self.leave: dict[str, Callable[[], None]] = {}
        self.committed = True

    @initialize()
    def begin(self) -> None:
        """Something to start from, so that edits meet."""
        world = [
            manifests.gateway_class(),
            manifests.gateway(
                manifests.listener("l0", 80),
                manifests.listener("l1", 443, protocol="HTTPS", secret="c0"),
                manifests.listener("s0", 9000, protocol="TCP"),
                manifests.listener("s1", 9000, protocol="UDP"),
            ),
            manifests.http_route("r0", manifests.rule("a", ("b", 0)), hostnames=["a.test"]),
            manifests.service("a"),
            manifests.service("b"),
            manifests.endpoint_slice("a", 8080),
            manifests.tls_secret("c0", documents.pairs()[0].certificate, documents.pairs()[0].key),
        ]
        self.activate("*")
        for body in world:
            self.put(body)
        self.commit()

    @rule(body=documents.bodies)
    def put(self, body: Body) -> None:
        made = document(body)
        self.pipeline.apply(Update(upserts=(made,)))
        self.documents[made.ref] = made
        self.broken.discard(made.ref)
        self.committed = False

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if self.documents:
            ref = data.draw(some(sorted(self.documents)))
            self.pipeline.apply(Update(deletes=(ref,)))
            del self.documents[ref]
            self.broken.discard(ref)
            self.committed = False

    @rule(data=st.data())
    def spoil(self, data: st.DataObject) -> None:
        """A document that cannot be decoded leaves the object as it was."""
        strict = sorted(ref for ref in self.documents if ref.group and ref.group != "discovery.k8s.io")
        if strict:
            ref = data.draw(some(strict))
            before = self.documents[ref].body
            self.pipeline.apply(
                Update(upserts=(Document(ref, {**before, "spce": {}, "spec": {"nonsense": 1}}),))
            )
            self.broken.add(ref)
            self.committed = False

    @rule()
    def commit(self) -> None:
        self.pipeline.commit()
        self.committed = True

    @rule(group=some(GROUPS))
    def activate(self, group: str) -> None:
        """In the middle of changes too."""
        if group in self.followed:
            return
        view = self.pipeline.activate(group)
        copy = {(item.type_url, item.name): item for item in view.snapshot()}

        def follow(changes: Mapping[str, Mapping[str, Resource | None]]) -> None:
            for type_url, named in changes.items():
                for name, item in named.items():
                    if item is None:
                        del copy[type_url, name]
                    else:
                        assert copy.get((type_url, name)) != item, "told of what did not change"
                        copy[type_url, name] = item

        self.followed[group] = copy
        self.leave[group] = view.subscribe(follow)
        self.committed = False  # what was applied before counts now

    @rule(group=some(GROUPS[1:]))
    def drop(self, group: str) -> None:
        if group in self.followed:
            del self.followed[group]
            self.leave.pop(group)()
            self.pipeline.deactivate(group)
            self.committed = False

    @invariant()
    def equals_a_build_from_scratch(self) -> None:
        if not self.committed:
            return
        fresh = Pipeline()
        fresh.load(self.documents[ref] for ref in sorted(self.documents, reverse=True))
        for group, followed in self.followed.items():
            expected = {(item.type_url, item.name): item for item in fresh.snapshot(group)}
            found = {(item.type_url, item.name): item for item in self.pipeline.groups[group].snapshot()}
            assert content(found) == content(expected), group
            assert content(followed) == content(expected), group
            assert self.pipeline.groups[group].snapshot().inconsistencies() == ()
            assert self.pipeline.view(group) == fresh.view(group)
        if not self.broken:
            assert self.pipeline.statuses() == fresh.statuses()
            for group in self.followed:
                fresh.activate(group)
            assert self.pipeline.diagnostics() == fresh.diagnostics()


TestIncremental = Incremental.TestCase
TestIncremental.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
