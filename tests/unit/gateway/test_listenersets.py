"""ListenerSets: who may add listeners, who wins, conditions, routes, counts, and what runs again."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.ir import model as ir
from dragoman.refs import Ref, format_path
from dragoman.translators.gateway import decode

HTTP = "{name: http, port: 80, protocol: HTTP}"
GRANTED = """
kind: ReferenceGrant
metadata: {name: g, namespace: %s}
spec:
  from: [{group: gateway.networking.k8s.io, kind: %s, namespace: %s}]
  to: [{group: "", kind: Secret}]
"""


def gateway(listeners: str = HTTP, allowed: str = "from: All", more: str = "") -> str:
    taken = f"allowedListeners: {{namespaces: {{{allowed}}}}}, " if allowed else ""
    return (
        "kind: Gateway\nmetadata: {name: edge, namespace: infra, creationTimestamp: '2026-01-01T00:00:00Z'}\n"
        f"spec: {{gatewayClassName: dragoman, {taken}{more}listeners: [{listeners}]}}"
    )


def listener(name: str, port: int = 8080, host: str = "", protocol: str = "HTTP", more: str = "") -> str:
    said = f", hostname: {host}" if host else ""
    return f"{{name: {name}, port: {port}, protocol: {protocol}{said}{more}}}"


def listener_set(
    *listeners: str, name: str = "set", namespace: str = "default", day: int = 1, parent: str = "edge"
) -> str:
    return (
        f"kind: ListenerSet\nmetadata: {{name: {name}, namespace: {namespace}, generation: 4, "
        f"creationTimestamp: '2026-02-0{day}T00:00:00Z'}}\n"
        f"spec: {{parentRef: {{name: {parent}, namespace: infra}}, "
        f"listeners: [{', '.join(listeners or (listener('a'),))}]}}"
    )


def listeners_of(world: Any, name: str = "set") -> dict[str, dict[str, str]]:
    body = world.status("ListenerSet", name)
    return {
        one["name"]: {c["type"]: f"{c['status']} {c['reason']}" for c in one["conditions"]}
        for one in body["listeners"]
    }


def served(world: Any, name: str = "set") -> list[str]:
    found = world.outputs.gateways.get(world.ref("ListenerSet", name))
    return [] if found is None else [one.name for one in found.listeners]


def attached_sets(world: Any) -> int:
    return int(world.status("Gateway", "edge", "infra").get("attachedListenerSets", 0))


FINE = {"Accepted": "True Accepted", "Programmed": "True Programmed"}
EACH = {**FINE, "ResolvedRefs": "True ResolvedRefs", "Conflicted": "False NoConflicts"}
PASSTHROUGH = ", tls: {mode: Passthrough}"


# --- who may ----------------------------------------------------------------------------------------------


def test_a_set_is_a_part_of_its_gateway(world: Any) -> None:
    world.apply(gateway(more="addresses: [{value: 127.0.0.9}], "), listener_set())
    found = world.outputs.gateways.get(world.ref("ListenerSet", "set"))
    edge = Ref("gateway.networking.k8s.io", "Gateway", "infra", "edge")
    assert found.parent == found.gateway == edge
    assert found.addresses == ("127.0.0.9",)
    assert world.outputs.gateways.get(edge).age < found.age
    assert str(found.listeners[0].origin) == "ListenerSet default/set spec.listeners[0]"
    assert world.conditions("ListenerSet", "set") == FINE
    assert listeners_of(world) == {"a": EACH}
    body = world.status("ListenerSet", "set")
    conditions = [*body["conditions"], *body["listeners"][0]["conditions"]]
    assert {one["observedGeneration"] for one in conditions} == {4}
    assert attached_sets(world) == 1


@pytest.mark.parametrize(
    ("allowed", "namespace", "accepted"),
    [
        ("", "default", False),
        ("", "infra", False),
        ("from: None", "infra", False),
        ("from: Same", "infra", True),
        ("from: Same", "default", False),
        ("from: All", "default", True),
        ("from: Selector, selector: {matchLabels: {team: a}}", "default", True),
        ("from: Selector, selector: {matchLabels: {team: a}}", "infra", False),
        ("from: Selector, selector: {matchLabels: {kubernetes.io/metadata.name: infra}}", "infra", True),
    ],
)
def test_whose_sets_a_gateway_takes(allowed: str, namespace: str, accepted: bool, world: Any) -> None:
    world.apply("kind: Namespace\nmetadata: {name: default, labels: {team: a}}")
    world.apply(gateway(allowed=allowed), listener_set(namespace=namespace))
    expected = FINE if accepted else {"Accepted": "False NotAllowed", "Programmed": "False NotAllowed"}
    assert world.conditions("ListenerSet", "set", namespace) == expected
    assert attached_sets(world) == accepted
    ref = world.ref("ListenerSet", "set", namespace)
    assert (ref in world.outputs.gateways) is accepted
    if not accepted:
        assert "listeners" not in world.status("ListenerSet", "set", namespace)
        assert format_path(world.finding("DRG1209").path) == "spec.parentRef"


def test_a_gateway_that_is_not_there(world: Any) -> None:
    world.apply(gateway(), listener_set(parent="egde"))
    assert world.finding("DRG2001").help == "did you mean `edge`?"
    assert world.outputs.statuses.get(world.ref("ListenerSet", "set")) is None
    assert world.ref("ListenerSet", "set") not in world.outputs.gateways


def test_a_gateway_of_another_controller(world: Any) -> None:
    world.apply(gateway().replace("gatewayClassName: dragoman", "gatewayClassName: other"), listener_set())
    assert world.outputs.statuses.get(world.ref("ListenerSet", "set")) is None
    assert [one for one in world.findings() if "parentRef" in one] == []


def test_a_gateway_that_cannot_be_accepted(world: Any) -> None:
    world.apply(gateway(more="addresses: [{type: Hostname, value: a}], "), listener_set())
    assert world.conditions("ListenerSet", "set") == {
        "Accepted": "False ParentNotAccepted",
        "Programmed": "False ParentNotAccepted",
    }


def test_sets_can_serve_where_the_gateways_own_listeners_cannot(world: Any) -> None:
    world.apply(gateway(listener("sctp", protocol="SCTP")), listener_set())
    assert world.conditions("ListenerSet", "set") == FINE
    assert served(world) == ["a"]


# --- conflicts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "added", "reason"),
    [
        (HTTP, listener("a", 80), "HostnameConflict"),
        (HTTP, listener("a", 80, protocol="TCP"), "ProtocolConflict"),
        (HTTP, listener("a", 80, "a.example"), None),
        (HTTP, listener("a", 80, protocol="UDP"), None),
        (listener("t", 80, "a.example", "TLS", PASSTHROUGH), listener("a", 80), "ProtocolConflict"),
        (
            listener("t", 80, "a.example", "TLS", PASSTHROUGH),
            listener("a", 80, "a.example", "HTTPS", ", tls: {certificateRefs: [{name: c}]}"),
            "ProtocolConflict",
        ),
        (
            listener("t", 80, "a.example", "TLS", PASSTHROUGH),
            listener("a", 80, "b.example", "TLS", PASSTHROUGH),
            None,
        ),
    ],
)
def test_the_gateway_comes_first(own: str, added: str, reason: str | None, world: Any) -> None:
    world.apply(gateway(own), listener_set(added, listener("other", 9000)))
    found = listeners_of(world)
    if reason is None:
        assert found["a"] == EACH
        return
    assert found["a"]["Accepted"] == f"False {reason}"
    assert found["a"]["Conflicted"] == f"True {reason}"
    assert found["a"]["Programmed"] == "False Invalid"
    assert found["other"] == EACH
    assert world.conditions("ListenerSet", "set") == {
        "Accepted": "True ListenersNotValid",
        "Programmed": "True Programmed",
    }
    assert served(world) == ["other"]
    assert world.conditions("Gateway", "edge", "infra")["Accepted"] == "True Accepted"
    assert attached_sets(world) == 1


@pytest.mark.parametrize(("days", "winner"), [((1, 2), "x"), ((2, 1), "y"), ((1, 1), "x")])
@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (listener("a", 81), "HostnameConflict"),
        (listener("a", 81, protocol="TCP"), "ProtocolConflict"),
    ],
)
def test_of_sets_the_oldest_comes_first(
    days: tuple[int, int], winner: str, other: str, reason: str, world: Any
) -> None:
    loser = "y" if winner == "x" else "x"
    sets = {winner: listener("a", 81), loser: other}
    for name, day in zip("xy", days, strict=True):
        world.apply(listener_set(sets[name], name=name, day=day))
    world.apply(gateway())
    assert listeners_of(world, winner) == {"a": EACH}
    assert listeners_of(world, loser)["a"]["Conflicted"] == f"True {reason}"
    assert world.conditions("ListenerSet", loser) == {
        "Accepted": "False ListenersNotValid",
        "Programmed": "False ListenersNotValid",
    }
    assert attached_sets(world) == 1
    assert served(world, loser) == []
    world.remove("ListenerSet", winner)
    assert listeners_of(world, loser)["a"]["Conflicted"] == "False NoConflicts"


def test_within_a_set_all_lose_and_are_in_nobodys_way(world: Any) -> None:
    twins = (listener("a", 81), listener("b", 81), listener("c", 82))
    world.apply(gateway(), listener_set(*twins, day=1), listener_set(listener("z", 81), name="late", day=2))
    found = listeners_of(world)
    assert [found[name]["Conflicted"] for name in "abc"] == [
        "True HostnameConflict",
        "True HostnameConflict",
        "False NoConflicts",
    ]
    assert listeners_of(world, "late") == {"z": EACH}


def test_a_set_that_is_not_allowed_is_in_nobodys_way(world: Any) -> None:
    world.apply(gateway(allowed="from: Same"), listener_set(day=1))
    world.apply(listener_set(name="inner", namespace="infra", day=2))
    assert world.conditions("ListenerSet", "inner", "infra") == FINE


def test_names_need_not_differ_from_the_gateways(world: Any) -> None:
    world.apply(gateway(), listener_set(listener("http", 81)))
    assert listeners_of(world) == {"http": EACH}


# --- listeners that cannot be served ----------------------------------------------------------------------


def https(refs: str) -> str:
    return listener("a", 443, protocol="HTTPS", more=f", tls: {{certificateRefs: {refs}}}")


@pytest.mark.parametrize(
    ("added", "broken"),
    [
        (listener("a", protocol="SCTP"), {"Accepted": "False UnsupportedProtocol"}),
        (https("[{name: gone}]"), {"ResolvedRefs": "False InvalidCertificateRef"}),
        (https("[{name: c, namespace: infra}]"), {"ResolvedRefs": "False RefNotPermitted"}),
        (
            listener("a", more=", allowedRoutes: {kinds: [{kind: TCPRoute}]}"),
            {"ResolvedRefs": "False InvalidRouteKinds"},
        ),
    ],
)
def test_a_listener_that_cannot_be_served(added: str, broken: dict[str, str], world: Any) -> None:
    world.apply(gateway(), listener_set(added, listener("b", 81)))
    found = listeners_of(world)
    assert found["a"] == EACH | {"Programmed": "False Invalid"} | broken
    assert found["b"] == EACH
    assert served(world) == ["b"]
    world.apply(listener_set(added))
    assert world.conditions("ListenerSet", "set")["Programmed"].startswith("False")
    assert served(world) == []


def test_grants_are_the_sets_own(world: Any, tls_secret: Any) -> None:
    """A certificate of its own namespace needs none, and its Gateway's do not count."""
    world.apply(tls_secret("c", "a"), tls_secret("c", "b", "infra"), gateway())
    world.apply(listener_set(https("[{name: c}]")))
    assert served(world) == ["a"]
    world.apply(
        listener_set(https("[{name: c, namespace: infra}]")), GRANTED % ("infra", "Gateway", "default")
    )
    assert served(world) == []
    world.apply(GRANTED % ("infra", "ListenerSet", "default"))
    assert served(world) == ["a"]


# --- routes -----------------------------------------------------------------------------------------------


def route(name: str = "route", section: str = "", namespace: str = "default") -> str:
    said = f", sectionName: {section}" if section else ""
    return (
        f"kind: HTTPRoute\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
        f"spec: {{parentRefs: [{{kind: ListenerSet, name: set, namespace: default{said}}}], "
        f"rules: [{{backendRefs: []}}]}}"
    )


def test_routes_attach_to_a_set(world: Any) -> None:
    world.apply(gateway(), listener_set(listener("a", 81), listener("b", 82)), route(), route("one", "b"))
    attachments = world.routes().attachments
    assert {(one.parent.kind, one.listener) for one in attachments} == {
        ("ListenerSet", "a"),
        ("ListenerSet", "b"),
    }
    assert world.conditions("HTTPRoute", "one")["Accepted"] == "True Accepted"
    assert world.listener("a", "set", "ListenerSet")["attachedRoutes"] == 1
    assert world.listener("b", "set", "ListenerSet")["attachedRoutes"] == 2
    assert world.status("Gateway", "edge", "infra")["listeners"][0]["attachedRoutes"] == 0


def test_namespaces_are_the_sets_not_the_gateways(world: Any) -> None:
    world.apply(gateway(), listener_set(), route("far", namespace="infra"))
    assert world.conditions("HTTPRoute", "far", "infra")["Accepted"] == "False NotAllowedByListeners"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("nothing", "ListenerSet default/set has no listener named `nothing`"),
        ("http", "ListenerSet default/set has no listener named `http`"),  # the Gateway has
    ],
)
def test_listeners_that_a_set_has_not(section: str, message: str, world: Any) -> None:
    world.apply(gateway(), listener_set(), route(section=section))
    assert world.conditions("HTTPRoute", "route")["Accepted"] == "False NoMatchingParent"
    assert world.finding("DRG2002").message == message


def test_a_set_that_is_not_accepted(world: Any) -> None:
    world.apply(gateway(allowed=""), listener_set(), route())
    assert world.conditions("HTTPRoute", "route")["Accepted"] == "False NoMatchingParent"
    assert "is not accepted" in world.finding("DRG2002").message
    assert world.outputs.routes.get(world.ref("HTTPRoute", "route")) is None


def test_a_set_that_is_not_there(world: Any) -> None:
    world.apply(gateway(), listener_set(name="sett"), route())
    assert world.finding("DRG2001").help == "did you mean `sett`?"


# --- clients and certificates of the Gateway --------------------------------------------------------------


def test_what_the_gateway_asks_of_clients_holds(world: Any, tls_secret: Any, issue: Any) -> None:
    authority = "\n".join(f"    {line}" for line in issue("ca")[0].decode().splitlines())
    world.apply(
        f"kind: ConfigMap\nmetadata: {{name: ca, namespace: infra}}\ndata:\n  ca.crt: |\n{authority}",
        tls_secret("c", "a"),
        gateway(
            more="tls: {frontend: {default: {validation: "
            "{caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}}}}, "
        ),
        listener_set(https("[{name: c}]")),
    )
    found = world.outputs.gateways.get(world.ref("ListenerSet", "set")).listeners[0].tls
    edge = Ref("gateway.networking.k8s.io", "Gateway", "infra", "edge")
    assert found.clients == ir.ClientValidation(ir.SecretKey(edge, "ca"))
    world.remove("ConfigMap", "ca", "infra")
    assert listeners_of(world)["a"]["Accepted"] == "False NoValidCACertificate"


# --- decoding ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listeners", "expected"),
    [
        (f"{listener('a')}, {listener('a', 81)}", "DRG1108 spec.listeners[1].name"),
        (listener("a", protocol="TCP", host="a.example"), "DRG1108 spec.listeners[0].hostname"),
        (listener("a", protocol="TLS"), "DRG1102 spec.listeners[0]"),
        (listener("a", more=", tls: {certificateRefs: [{name: c}]}"), "DRG1108 spec.listeners[0].tls"),
        (
            listener("a", more=", allowedRoutes: {namespaces: {from: Selector}}"),
            "DRG1102 spec.listeners[0].allowedRoutes.namespaces",
        ),
        ("", "DRG1107 spec.listeners"),
        ("{name: a, protocol: HTTP}", "DRG1102 spec.listeners[0]"),
    ],
)
def test_what_is_refused(listeners: str, expected: str, documents: Any) -> None:
    spec = f"{{parentRef: {{name: b}}, listeners: [{listeners}]}}"
    text = f"kind: ListenerSet\nmetadata: {{name: a}}\nspec: {spec}"
    (document,) = documents(text)
    found = decode.decode(document)
    assert [f"{one.code} {format_path(one.path)}" for one in found.diagnostics] == [expected]


# --- what runs again --------------------------------------------------------------------------------------


def test_one_set_among_many_reruns_only_itself(world: Any) -> None:
    world.apply(
        gateway(), *(listener_set(listener("a", 80, f"h{n}.example"), name=f"s{n}") for n in range(30))
    )
    before = world.runs()
    world.apply(listener_set(listener("a", 80, "new.example"), name="new", day=2))
    after = world.runs()
    for name in ("ListenerSet standings", "ListenerSet claims", "ListenerSet reports", "ListenerSet status"):
        assert after[name] - before[name] == 1, name
    assert after["Gateway reports"] == before["Gateway reports"]
    assert attached_sets(world) == 31


def test_a_route_touches_its_set_alone(world: Any) -> None:
    world.apply(
        gateway(), listener_set(), *(listener_set(listener("a", 90 + n), name=f"s{n}") for n in range(9))
    )
    before = world.runs()
    world.apply(route())
    after = world.runs()
    assert after["ListenerSet status"] - before["ListenerSet status"] == 1
    for name in ("ListenerSet reports", "Gateway reports", "Gateway status"):
        assert after[name] == before[name], name
