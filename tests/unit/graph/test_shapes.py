"""Which tables are cut into scopes, and what is there on the way from one shape to the other."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from dragoman import config, resource
from dragoman.document import Document
from dragoman.graph.pipeline import Pipeline, shapes
from dragoman.refs import Ref
from dragoman.sources.base import Update
from dragoman.xds.types import Rejection
from tests.harness import manifests

LEAST = 8


class World:
    """A gateway whose table has a host for each route, and one for its listener (`*`)."""

    def __init__(self, least: int = LEAST) -> None:
        self.now = 0.0
        settings = config.Settings(gateways=config.Gateways(scoped_hosts=least))
        self.pipeline = Pipeline(settings, clock=lambda: self.now)
        self.pipeline.load(
            map(
                document,
                [
                    manifests.gateway_class(),
                    manifests.gateway(manifests.listener("http", 8080)),
                    manifests.service("s"),
                ],
            )
        )
        self.names: set[str] = set()

    def hosts(self, *names: str) -> None:
        """One commit: routes for these host names, and no others."""
        gone = self.names - set(names)
        self.names = set(names)
        deletes = tuple(ref(name) for name in gone)
        self.pipeline.apply(Update(tuple(route(name) for name in names), deletes))
        self.pipeline.commit()

    def numbered(self, count: int) -> None:
        self.hosts(*(f"h{number}.test" for number in range(count)))

    def shape(self) -> tuple[bool, bool, int]:
        """Whether the listener looks in scopes, whether the table is there, and how many scopes are."""
        snapshot = self.pipeline.snapshot()
        (listener,) = snapshot.resources(resource.LISTENER).values()
        tables, scopes = snapshot.resources(resource.ROUTE), snapshot.resources(resource.SCOPE)
        assert not snapshot.inconsistencies()
        return bool(listener.refers(resource.SCOPE)), bool(tables), len(scopes)


def ref(name: str) -> Ref:
    return Ref("gateway.networking.k8s.io", "HTTPRoute", "shop", name.replace("*", "any"))


def route(hostname: str) -> Document:
    name = ref(hostname).name
    return document(manifests.http_route(name, manifests.rule("s"), hostnames=[hostname]))


def document(body: manifests.Body) -> Document:
    group, _, _ = body["apiVersion"].rpartition("/")
    meta = body["metadata"]
    return Document(Ref(group, body["kind"], meta.get("namespace", ""), meta["name"]), body)


WHOLE = (False, True, 0)
CUT = (True, False, 256)
FINE = (True, False, 1024)


def test_size_decides() -> None:
    world = World()
    world.numbered(LEAST - 2)
    assert world.shape() == WHOLE
    world.numbered(LEAST - 1)  # and the listener's own host
    assert world.shape() == CUT


def test_zero_never_cuts() -> None:
    world = World(0)
    world.numbered(50)
    assert world.shape() == WHOLE


def test_both_are_there_for_a_while() -> None:
    world = World()
    world.pipeline.activate("*")
    world.numbered(3)
    assert world.shape() == WHOLE
    world.numbered(20)
    assert world.shape() == (True, True, 256)
    (table,) = world.pipeline.snapshot().resources(resource.ROUTE).values()
    assert table.spare
    world.now = shapes.TABLES_LINGER
    world.pipeline.expire()
    assert world.shape() == CUT
    world.numbered(LEAST // 2)  # with the listener's host a little more than half
    assert world.shape() == CUT
    world.numbered(1)
    assert world.shape() == (False, True, 256)
    (table,) = world.pipeline.snapshot().resources(resource.ROUTE).values()
    assert not table.spare
    world.now += shapes.SCOPES_LINGER
    world.pipeline.expire()
    assert world.shape() == WHOLE


def test_going_back_while_both_are_there() -> None:
    world = World()
    world.pipeline.activate("*")
    world.numbered(3)
    world.numbered(20)
    world.numbered(1)
    assert world.shape() == (False, True, 256)
    world.now = shapes.TABLES_LINGER
    world.pipeline.expire()
    assert world.shape() == (False, True, 256)
    world.numbered(20)
    assert world.shape() == (True, True, 256)


def test_large_ones_are_cut_finer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was there before is kept for its connections, each for its time."""
    monkeypatch.setattr(shapes, "FINE", 300)
    world = World()
    world.pipeline.activate("*")
    world.numbered(3)
    world.numbered(200)
    assert world.shape() == (True, True, 256)
    world.now = 10
    world.numbered(300)
    assert world.shape() == (True, True, 256 + 1024)
    world.now = shapes.TABLES_LINGER
    world.pipeline.expire()
    assert world.shape() == (True, False, 256 + 1024)
    world.now = 10 + shapes.SCOPES_LINGER
    world.pipeline.expire()
    assert world.shape() == FINE
    world.numbered(150)
    assert world.shape() == FINE
    world.numbered(140)
    assert world.shape() == (True, False, 256 + 1024)
    world.numbered(1)
    assert world.shape() == (False, True, 256 + 1024)
    world.numbered(300)
    assert world.shape() == (True, True, 256 + 1024)
    world.now += shapes.SCOPES_LINGER
    world.pipeline.expire()
    assert world.shape() == FINE


@pytest.mark.parametrize("fine", [50, 1000])
def test_a_change_costs_one_scope(fine: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "FINE", fine)
    monkeypatch.setattr(shapes, "COPIES", 20)
    world = World()
    view = world.pipeline.activate("*")
    world.numbered(100)
    assert world.shape()[2] == (1024 if fine == 50 else 256)
    world.now = shapes.TABLES_LINGER
    world.pipeline.expire()
    changes: list[dict[str, Iterable[str]]] = []
    view.subscribe(lambda found: changes.append({kind: list(named) for kind, named in found.items()}))
    world.pipeline.load([document(other("h7.test"))])
    (changed,) = changes
    assert set(changed) == {resource.SCOPE}
    assert len(list(changed[resource.SCOPE])) == 1


def other(hostname: str) -> manifests.Body:
    rule = manifests.rule("s", path="/other")
    return manifests.http_route(hostname, rule, hostnames=[hostname])


@pytest.mark.parametrize(
    ("wildcards", "others", "shape"),
    [
        (5, 10, CUT),  # and the listener's own
        (6, 10, WHOLE),
        (6, 105, CUT),  # 16 for each
        (15, 240, CUT),
        (16, 300, WHOLE),
    ],
)
def test_many_wildcards_keep_a_table_whole(wildcards: int, others: int, shape: object) -> None:
    world = World()
    hosts = [f"h{number}.test" for number in range(others)]
    world.hosts(*hosts, *(f"*.w{number}.test" for number in range(wildcards)))
    assert world.shape() == shape


@pytest.mark.parametrize(("wildcards", "shape"), [(0, FINE), (1, CUT)])
def test_more_wildcards_keep_it_in_fewer_scopes(
    wildcards: int, shape: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "FINE", 300)
    world = World()
    hosts = [f"h{number}.test" for number in range(300)]  # four copies for each: with the listener's own one
    world.hosts(*hosts, *(f"*.w{number}.test" for number in range(wildcards)))
    assert world.shape() == shape


def test_a_refused_scope_leads_to_its_route() -> None:
    world = World()
    world.pipeline.activate("*")
    world.numbered(20)
    bodies = [document(other("h7.test")), document(other("h8.test")), document(manifests.service("s2"))]
    before = world.pipeline.snapshot()
    world.pipeline.load(bodies)
    after = world.pipeline.snapshot()
    changed = [
        name
        for name, item in after.resources(resource.SCOPE).items()
        if item != before.get(resource.SCOPE, name)
    ]
    assert len(changed) == 2
    blamed = {
        world.pipeline.report_rejection(
            Rejection("node", "*", resource.SCOPE, (name,), "missing ): (", "", 0.0)
        )
        for name in changed
    }
    assert blamed == {(ref("h7.test"),), (ref("h8.test"),)}
