"""What a change reaches, counted in transforms run: the same however much else there is."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.document import Document
from dragoman.graph.pipeline import Pipeline
from dragoman.refs import Ref
from dragoman.sources.base import Update
from tests.harness import manifests

COUNT = 70
"""More than `binds.MISDIRECTED_LIMIT`."""


def document(body: dict[str, Any]) -> Document:
    group = body["apiVersion"].rpartition("/")[0]
    meta = body["metadata"]
    return Document(Ref(group, body["kind"], meta.get("namespace", ""), meta["name"]), body)


def listeners(number: int, protocol: str) -> dict[str, Any]:
    one = manifests.listener("own", 443, protocol=protocol, hostname=f"s{number}.example")
    if protocol == "TLS":
        one["tls"] = {"mode": "Passthrough"}
    return manifests.listener_set(f"set-{number}", one)


def world(protocol: str) -> Pipeline:
    gateway = manifests.gateway(manifests.listener("http", 80), manifests.listener("spare", 8080))
    gateway["spec"]["allowedListeners"] = {"namespaces": {"from": "Same"}}
    bodies = [manifests.gateway_class(), gateway]
    bodies += [manifests.service("s"), manifests.endpoint_slice("s", 9000)]
    for number in range(COUNT):
        bodies.append(listeners(number, protocol))
        bodies.append(
            manifests.http_route(f"r{number}", manifests.rule("s"), hostnames=[f"r{number}.example"])
        )
    pipeline = Pipeline()
    pipeline.load(map(document, bodies))
    pipeline.activate("*")
    return pipeline


def runs(pipeline: Pipeline) -> dict[str, int]:
    return {one.name: getattr(one, "runs", 0) for one in pipeline.graph.collections}


def spent(pipeline: Pipeline, *bodies: dict[str, Any]) -> dict[str, int]:
    before = runs(pipeline)
    pipeline.apply(Update(tuple(map(document, bodies))))
    pipeline.commit()
    after = runs(pipeline)
    return {name: count - before[name] for name, count in after.items() if count != before[name]}


@pytest.mark.parametrize("protocol", ["HTTP", "TLS"])
def test_a_listener_among_many_costs_itself(protocol: str) -> None:
    pipeline = world(protocol)
    cost = spent(pipeline, listeners(COUNT, protocol))
    assert cost["LDS" if protocol == "TLS" else "names"] == 1
    assert max(cost.values()) <= 2, cost
    assert "placed" not in cost  # no route is looked at again
    assert not cost.keys() & {"HTTPRoute attached alone", "HTTPRoute attached"}
    names = {"*", *(f"s{number}.example" for number in range(COUNT + 1))}
    if protocol == "TLS":
        (one,) = (each for bind, each in pipeline.view().listeners.items() if bind.port == 443)
        assert {chain.hostname for chain in one.chains} == names - {"*"}


def test_a_host_name_taken_moves_only_its_routes() -> None:
    pipeline = world("HTTP")
    mine = manifests.listener_set("mine", manifests.listener("own", 80, hostname="r7.example"))
    cost = spent(pipeline, mine)
    assert cost["placed"] == 1
    hosts = {scope.bind.port: table for scope, table in pipeline.view().hosts.items()}
    assert hosts[80]["r7.example"].routes == ()  # it belongs to a listener that the route is not attached to
    assert len(hosts[80]["r8.example"].routes) == len(hosts[8080]["r7.example"].routes) == 1


def test_a_new_gateway_listener_leaves_routes_alone() -> None:
    pipeline = world("HTTP")
    gateway = manifests.gateway(
        manifests.listener("http", 80), manifests.listener("spare", 8080), manifests.listener("new", 8081)
    )
    gateway["spec"]["allowedListeners"] = {"namespaces": {"from": "Same"}}
    cost = spent(pipeline, gateway)
    # Routes without a section name look for new listeners; those that stand where they stood say nothing new.
    assert cost["LDS"] == 1
    assert cost["filter chains encoded"] == 1
