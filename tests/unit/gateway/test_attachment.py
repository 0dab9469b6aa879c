"""parentRefs, sections, ports, namespaces, host names: where routes stand and what their status says."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.ir import model as ir


def gateway(
    listeners: str, name: str = "edge", class_name: str = "dragoman", namespace: str = "default"
) -> str:
    return f"""
kind: Gateway
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{gatewayClassName: {class_name}, listeners: [{listeners}]}}
"""


def attached(world: Any, name: str = "route") -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.parent.name, one.listener, one.hostnames) for one in world.routes(name).attachments]


def refused(world: Any, name: str = "route", namespace: str = "default") -> str:
    assert world.outputs.routes.get(world.ref("HTTPRoute", name, namespace)) is None
    return str(world.conditions("HTTPRoute", name, namespace)["Accepted"])


A = "{name: a, port: 80, protocol: HTTP, hostname: a.example}"
B = "{name: b, port: 80, protocol: HTTP, hostname: '*.example'}"
C = "{name: c, port: 81, protocol: HTTP}"


@pytest.mark.parametrize(
    ("hostnames", "expected"),
    [
        ("[]", {"a": ("a.example",), "b": ("*.example",), "c": ("*",)}),
        ("[a.example]", {"a": ("a.example",), "b": ("a.example",), "c": ("a.example",)}),
        ("['*.example']", {"a": ("a.example",), "b": ("*.example",), "c": ("*.example",)}),
        ("[x.y.example]", {"b": ("x.y.example",), "c": ("x.y.example",)}),
        ("['*.y.example', example]", {"b": ("*.y.example",), "c": ("*.y.example", "example")}),
        ("[other.org]", {"c": ("other.org",)}),
        ("['*.a.example']", {"b": ("*.a.example",), "c": ("*.a.example",)}),
    ],
)
def test_hostname_intersection(
    hostnames: str, expected: dict[str, tuple[str, ...]], shop: Any, http_route: Any
) -> None:
    shop.apply(gateway(f"{A}, {B}, {C}"), http_route(head=f"hostnames: {hostnames}"))
    assert {listener: names for _, listener, names in attached(shop)} == expected
    assert shop.conditions("HTTPRoute", "route") == {
        "Accepted": "True Accepted",
        "ResolvedRefs": "True ResolvedRefs",
    }


def test_no_hostname_in_common(shop: Any, http_route: Any) -> None:
    shop.apply(gateway(A), http_route(head="hostnames: [b.example]"))
    assert refused(shop) == "False NoMatchingListenerHostname"
    assert shop.finding("DRG1304").label == "served: a.example"
    assert shop.listener("a")["attachedRoutes"] == 0


def test_some_hostnames_served_nowhere(shop: Any, http_route: Any) -> None:
    shop.apply(gateway(A), http_route(head="hostnames: [a.example, b.example]"))
    assert shop.findings() == ["DRG1304 spec.hostnames[1]"]


@pytest.mark.parametrize(
    ("parent", "expected"),
    [
        ("{name: edge}", ["a", "b", "c"]),
        ("{name: edge, sectionName: b}", ["b"]),
        ("{name: edge, port: 80}", ["a", "b"]),
        ("{name: edge, port: 81, sectionName: c}", ["c"]),
    ],
)
def test_sections(parent: str, expected: list[str], shop: Any, http_route: Any) -> None:
    shop.apply(gateway(f"{A}, {B}, {C}"), http_route().replace("{name: edge}", parent))
    assert [listener for _, listener, _ in attached(shop)] == expected
    counts = {one["name"]: one["attachedRoutes"] for one in shop.status("Gateway", "edge")["listeners"]}
    assert counts == {name: int(name in expected) for name in "abc"}


@pytest.mark.parametrize(
    ("parent", "path", "said"),
    [
        ("{name: edge, sectionName: htpp}", "spec.parentRefs[0].sectionName", "did you mean `http`?"),
        ("{name: edge, port: 81}", "spec.parentRefs[0].port", ""),
        ("{name: edge, port: 81, sectionName: http}", "spec.parentRefs[0].port", ""),
    ],
)
def test_no_such_section(parent: str, path: str, said: str, shop: Any, http_route: Any) -> None:
    shop.apply(http_route().replace("{name: edge}", parent))
    assert refused(shop) == "False NoMatchingParent"
    assert shop.findings() == [f"DRG2002 {path}"]
    assert shop.finding("DRG2002").help == said


def test_several_parents_are_judged_apart(shop: Any, http_route: Any) -> None:
    shop.apply(
        gateway(A, "other"), http_route().replace("{name: edge}", "{name: edge}, {name: other, port: 9}")
    )
    assert attached(shop) == [("edge", "http", ("*",))]
    body = shop.status("HTTPRoute", "route")["parents"]
    assert [one["parentRef"]["name"] for one in body] == ["edge", "other"]
    assert shop.conditions("HTTPRoute", "route", at=0)["Accepted"] == "True Accepted"
    assert shop.conditions("HTTPRoute", "route", at=1)["Accepted"] == "False NoMatchingParent"


def test_two_parent_refs_to_one_listener_count_once(shop: Any, http_route: Any) -> None:
    parents = "{name: edge, sectionName: http}, {name: edge, sectionName: http, port: 80}"
    shop.apply(http_route().replace("{name: edge}", parents))
    assert "DRG1108" in {d.code for d in shop.rejected[shop.ref("HTTPRoute", "route")]}


def test_status_shape(shop: Any, http_route: Any) -> None:
    text = http_route().replace(
        "{name: edge}", "{name: edge, sectionName: http, port: 80, namespace: default}"
    )
    shop.apply(text.replace("{name: route}", "{name: route, generation: 4}"))
    (parent,) = shop.status("HTTPRoute", "route")["parents"]
    assert parent["controllerName"] == "dragoman.dev/gateway-controller"
    assert parent["parentRef"] == {
        "group": "gateway.networking.k8s.io",
        "kind": "Gateway",
        "name": "edge",
        "namespace": "default",
        "sectionName": "http",
        "port": 80,
    }
    assert {one["observedGeneration"] for one in parent["conditions"]} == {4}


def test_parents_that_are_not_ours(shop: Any, http_route: Any) -> None:
    shop.apply(
        "kind: GatewayClass\nmetadata: {name: theirs}\nspec: {controllerName: example.com/other}",
        gateway(A, "other", "theirs"),
        http_route().replace("{name: edge}", "{name: other}, {kind: Service, group: '', name: shop}"),
    )
    assert shop.outputs.routes.get(shop.ref("HTTPRoute", "route")) is None
    assert shop.status("HTTPRoute", "route") == {"parents": []}
    assert shop.findings() == ["DRG2005 spec.parentRefs[1]"]


def test_missing_gateway(shop: Any, http_route: Any) -> None:
    shop.apply(http_route().replace("{name: edge}", "{name: egde}"))
    assert shop.status("HTTPRoute", "route") == {"parents": []}
    assert shop.finding("DRG2001").help == "did you mean `edge`?"


def test_no_parents(shop: Any, http_route: Any) -> None:
    shop.apply(http_route().replace("  parentRefs: [{name: edge}]\n", ""))
    assert shop.findings() == ["DRG2001 spec"]


OPEN = "{{name: http, port: 80, protocol: HTTP, allowedRoutes: {{namespaces: {0}}}}}"


@pytest.mark.parametrize(
    ("namespaces", "labels", "admitted"),
    [
        ("{from: Same}", "{}", False),
        ("{from: All}", "{}", True),
        ("{from: Selector, selector: {}}", "{}", True),
        ("{from: Selector, selector: {matchLabels: {team: a}}}", "{team: a, x: y}", True),
        ("{from: Selector, selector: {matchLabels: {team: a}}}", "{team: b}", False),
        ("{from: Selector, selector: {matchLabels: {kubernetes.io/metadata.name: apps}}}", "{}", True),
        (
            "{from: Selector, selector: {matchExpressions: [{key: team, operator: In, values: [a, b]}]}}",
            "{team: b}",
            True,
        ),
        (
            "{from: Selector, selector: {matchExpressions: [{key: team, operator: NotIn, values: [a]}]}}",
            "{}",
            True,
        ),
        ("{from: Selector, selector: {matchExpressions: [{key: team, operator: Exists}]}}", "{}", False),
        ("{from: Selector, selector: {matchExpressions: [{key: team, operator: DoesNotExist}]}}", "{}", True),
    ],
)
def test_namespaces(namespaces: str, labels: str, admitted: bool, shop: Any, http_route: Any) -> None:
    text = http_route().replace("{name: route}", "{name: route, namespace: apps}")
    shop.apply(
        gateway(OPEN.format(namespaces)),
        f"kind: Namespace\nmetadata: {{name: apps, labels: {labels}}}",
        text.replace("{name: edge}", "{name: edge, namespace: default}"),
    )
    accepted = shop.conditions("HTTPRoute", "route", "apps")["Accepted"]
    assert accepted == ("True Accepted" if admitted else "False NotAllowedByListeners")
    assert ("DRG1303 spec.parentRefs[0]" in shop.findings()) is not admitted


def test_namespace_labels_are_followed(shop: Any, http_route: Any) -> None:
    selector = "{from: Selector, selector: {matchLabels: {team: a}}}"
    shop.apply(gateway(OPEN.format(selector)), http_route())
    assert refused(shop) == "False NotAllowedByListeners"
    shop.apply("kind: Namespace\nmetadata: {name: default, labels: {team: a}}")
    assert attached(shop) == [("edge", "http", ("*",))]


def test_kinds(shop: Any, http_route: Any) -> None:
    kinds = "{name: http, port: 80, protocol: HTTP, allowedRoutes: {kinds: [{kind: GRPCRoute}]}}"
    shop.apply(gateway(kinds), http_route())
    assert refused(shop) == "False NotAllowedByListeners"
    assert shop.conditions("Gateway", "edge")["Accepted"] == "True Accepted"


def test_routes_attach_to_listeners_that_cannot_be_served_yet(shop: Any, http_route: Any) -> None:
    tls = "{name: tls, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: later}]}}"
    shop.apply(gateway(tls), http_route())
    assert shop.conditions("HTTPRoute", "route")["Accepted"] == "True Accepted"
    assert shop.listener("tls")["attachedRoutes"] == 1
    assert shop.gateway() is None


def test_attachment_lists_are_values(shop: Any, http_route: Any) -> None:
    shop.apply(http_route())
    assert shop.routes().attachments == (ir.Attachment(shop.ref("Gateway", "edge"), "http", ("*",)),)
