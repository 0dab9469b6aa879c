"""The whole pipeline against itself from scratch.

A small world of documents is edited at random, groups come and go, and after every commit the snapshot of
each active group must equal, byte for byte, that of a new pipeline that reads the same documents at once, in
another order. Statuses, diagnostics, and what followers of the live views were told must agree as well.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dragoman.document import Document
from dragoman.graph.pipeline import Pipeline
from dragoman.refs import Ref
from dragoman.resource import Resource
from dragoman.sources.base import Update
from tests.harness import certs, manifests

Body = dict[str, Any]

GROUPS = ("*", "shop/edge", "shop/edge,shop/inner", "stock/*")
HOSTS = ("a.test", "b.test", "*.test", "x.a.test", "*.a.test")
NAMESPACES = ("shop", "stock")


@functools.cache
def pairs() -> tuple[certs.Pair, ...]:
    authority = certs.Authority()
    return tuple(authority.issue(name) for name in ("a.test", "b.test"))


some = st.sampled_from
hosts = st.lists(some(HOSTS), max_size=2, unique=True)


@st.composite
def gateways(draw: st.DrawFn) -> Body:
    listeners = []
    for number in range(draw(st.integers(1, 3))):
        secret = draw(some([None, None, "c0", "c1"]))
        listener = manifests.listener(
            f"l{number}",
            draw(some([443, 8443] if secret else [80, 8080, 443])),
            protocol="HTTPS" if secret else "HTTP",
            hostname=draw(some([None, *HOSTS])),
            secret=secret,
        )
        if draw(st.booleans()):
            listener["allowedRoutes"] = draw(
                some(
                    [
                        {"namespaces": {"from": "Same"}},
                        {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "red"}}}},
                    ]
                )
            )
        listeners.append(listener)
    body = manifests.gateway(*listeners, name=draw(some(["edge", "inner"])))
    if draw(st.booleans()):
        body["metadata"]["creationTimestamp"] = draw(some(["2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"]))
    if draw(st.booleans()):
        body["spec"]["addresses"] = [{"value": "127.0.0.2"}]
    return body


@st.composite
def rules(draw: st.DrawFn) -> Body:
    made: Body = {}
    path = {"path": {"type": draw(some(["Exact", "PathPrefix"])), "value": draw(some(["/", "/a", "/a/b"]))}}
    if draw(st.booleans()):
        path["method"] = "GET"  # type: ignore[assignment]
    made["matches"] = [path] if draw(st.booleans()) else [path, {"headers": [{"name": "x", "value": "1"}]}]
    kind = draw(st.integers(0, 5))
    if kind == 0:
        made["filters"] = [
            {"type": "RequestRedirect", "requestRedirect": {"scheme": draw(some(["http", "https"]))}}
        ]
        return made
    if kind == 1:
        mirror = {"backendRef": {"name": draw(some("abz")), "port": 80}, "percent": draw(some([5, 100]))}
        made["filters"] = [{"type": "RequestMirror", "requestMirror": mirror}]
    refs: list[Body] = []
    for _ in range(draw(st.integers(0, 2))):
        if draw(st.integers(0, 3)) == 0:
            refs.append({"group": "dragoman.dev", "kind": "Backend", "name": "outside"})
        else:
            refs.append(
                {"name": draw(some("abz")), "port": draw(some([80, 80, 81])), "weight": draw(some([1, 0, 9]))}
            )
            if draw(st.booleans()):
                refs[-1]["namespace"] = draw(some(NAMESPACES))
    made["backendRefs"] = refs
    return made


@st.composite
def routes(draw: st.DrawFn) -> Body:
    body = manifests.http_route(
        draw(some(["r0", "r1", "r2"])),
        *draw(st.lists(rules(), min_size=1, max_size=3)),
        hostnames=draw(hosts),
        namespace=draw(some(NAMESPACES)),
    )
    parents: list[Body] = []
    for name in draw(st.lists(some(["edge", "inner", "nowhere"]), min_size=1, max_size=2, unique=True)):
        parents.append({"name": name, "namespace": "shop"})
        if draw(st.booleans()):
            parents[-1]["sectionName"] = draw(some(["l0", "l1", "l2"]))
    body["spec"]["parentRefs"] = parents
    if draw(st.booleans()):
        body["metadata"]["creationTimestamp"] = draw(some(["2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"]))
    if draw(st.integers(0, 4)) == 0:
        body["metadata"]["annotations"] = {"dragoman.dev/priority": draw(some(["1", "-1"]))}
    return body


@st.composite
def services(draw: st.DrawFn) -> Body:
    body = manifests.service(draw(some("ab")), namespace=draw(some(NAMESPACES)))
    if draw(st.booleans()):
        body["spec"]["ports"].append({"name": "more", "port": 81, "appProtocol": "kubernetes.io/h2c"})
    return body


@st.composite
def slices(draw: st.DrawFn) -> Body:
    endpoints = [
        manifests.endpoint(
            f"10.0.0.{draw(st.integers(1, 3))}", ready=draw(st.booleans()), terminating=draw(st.booleans())
        )
        for _ in range(draw(st.integers(0, 3)))
    ]
    body = manifests.endpoint_slice(
        draw(some("ab")), draw(some([8080, 8081])), suffix=draw(some("12")), namespace=draw(some(NAMESPACES))
    )
    body["endpoints"] = endpoints
    return body


@st.composite
def others(draw: st.DrawFn) -> Body:
    kind = draw(st.integers(0, 4))
    if kind == 0:
        pair = draw(st.integers(0, 1))
        return manifests.tls_secret(draw(some(["c0", "c1"])), pairs()[pair].certificate, pairs()[pair].key)
    if kind == 1:
        return {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": draw(some(NAMESPACES)), "labels": {"team": draw(some(["red", "blue"]))}},
        }
    if kind == 2:
        return {
            "apiVersion": "gateway.networking.k8s.io/v1beta1",
            "kind": "ReferenceGrant",
            "metadata": {"name": "grant", "namespace": draw(some(NAMESPACES))},
            "spec": {
                "from": [
                    {
                        "group": "gateway.networking.k8s.io",
                        "kind": "HTTPRoute",
                        "namespace": draw(some(NAMESPACES)),
                    }
                ],
                "to": [{"group": "", "kind": "Service", **draw(some([{}, {"name": "a"}]))}],
            },
        }
    if kind == 3:
        return {
            "apiVersion": "dragoman.dev/v1alpha1",
            "kind": "Backend",
            "metadata": {"name": "outside", "namespace": draw(some(NAMESPACES))},
            "spec": draw(
                some(
                    [
                        {
                            "endpoints": [{"hostname": "out.test", "port": 443}],
                            "tls": {"insecureSkipVerify": True},
                        },
                        {"endpoints": [{"address": "10.9.9.9", "port": 80}], "protocol": "HTTP2"},
                    ]
                )
            ),
        }
    return manifests.gateway_class()


bodies = st.one_of(gateways(), routes(), routes(), routes(), services(), slices(), slices(), others())


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
                manifests.listener("l0", 80), manifests.listener("l1", 443, protocol="HTTPS", secret="c0")
            ),
            manifests.http_route("r0", manifests.rule("a", ("b", 0)), hostnames=["a.test"]),
            manifests.service("a"),
            manifests.service("b"),
            manifests.endpoint_slice("a", 8080),
            manifests.tls_secret("c0", pairs()[0].certificate, pairs()[0].key),
        ]
        self.activate("*")
        for body in world:
            self.put(body)
        self.commit()

    @rule(body=bodies)
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
