"""HTTP filters: in every chain, asleep, and awake where a route asks for them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dragoman import proto
from dragoman.envoy.filters import chain
from dragoman.ir import model as ir, origins
from tests.unit.envoy.build import envoy_route, forward, route


def per_route(item: ir.Route, name: str) -> dict[str, object]:
    found: dict[str, object] = envoy_route(item)["typed_per_filter_config"][f"envoy.filters.http.{name}"]
    return found


def test_the_router_is_last_and_awake() -> None:
    awake = [each.name for each in chain.FILTERS if not each.disabled]
    assert awake == ["dragoman.identity", "envoy.filters.http.router"]
    assert chain.FILTERS[-1].name == "envoy.filters.http.router"
    assert len({each.name for each in chain.FILTERS}) == len(chain.FILTERS)


def test_configurations_are_of_types_that_envoy_has() -> None:
    for each in chain.FILTERS:
        if each.name in chain.DISCOVERED:
            type_url, value = chain.DISCOVERED[each.name].shared(())
            assert type_url in chain.type_urls(each.name)
        else:
            type_url, value = each.config()  # type: ignore[attr-defined]
        proto.message(type_url).FromString(value)


def test_a_plain_route_wakes_none() -> None:
    assert "typed_per_filter_config" not in envoy_route(route(forward()))


def test_cors() -> None:
    cors = ir.Cors(("https://a.example", "*"), ("GET", "PUT"), ("x-a",), ("x-b",), True, 60)
    shown = per_route(route(forward(), cors=cors), "cors")
    shown.pop("@type")
    assert shown == {
        "allow_origin_string_match": [
            {"exact": "https://a.example"},
            {"exact": "*"},
        ],
        "allow_methods": "GET, PUT",
        "allow_headers": "x-a",
        "expose_headers": "x-b",
        "max_age": "60",
        "allow_credentials": True,
        "forward_not_matching_preflights": False,
    }


def test_wildcard_origins_stand_for_labels_only() -> None:
    cors = ir.Cors(("https://*.bar.com",))
    found: Any = per_route(route(forward(), cors=cors), "cors")["allow_origin_string_match"]
    pattern = found[0]["safe_regex"]["regex"]
    assert re.fullmatch(pattern, "https://a.b.bar.com")
    assert not re.fullmatch(pattern, "https://bar.com")
    assert not re.fullmatch(pattern, "https://evil.com/.bar.com")
    assert not re.fullmatch(pattern, "https://xbar.com")


@pytest.mark.parametrize(
    ("origin", "others"),
    [
        ("https://*", ["https://a.example:8443", "http://a.example", "https://", "https://[::1]:8443"]),
        ("https://*:8443", ["https://a.example", "https://[::1]"]),
    ],
)
def test_a_wildcard_does_not_stand_for_ports(origin: str, others: list[str]) -> None:
    pattern = origins.expression(origin)
    assert re.fullmatch(pattern, origin.replace("*", "a.b.example"))
    assert re.fullmatch(pattern, origin.replace("*", "[2001:db8::1]"))
    assert not any(re.fullmatch(pattern, one) for one in others)


def test_session_by_cookie() -> None:
    session = ir.SessionPersistence(ir.SessionKind.COOKIE, "sid", 1.5, "/p")
    state = per_route(route(forward(session=session)), "stateful_session")["stateful_session"]
    cookie = state["session_state"]["typed_config"]["cookie"]  # type: ignore[index]
    assert cookie == {"name": "sid", "ttl": "1.500s", "path": "/p"}


def test_session_by_header() -> None:
    session = ir.SessionPersistence(ir.SessionKind.HEADER, "x-sid")
    state = per_route(route(forward(session=session)), "stateful_session")["stateful_session"]
    assert state["session_state"]["typed_config"]["name"] == "x-sid"  # type: ignore[index]
