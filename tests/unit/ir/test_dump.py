"""Dumps: readable, complete, and silent about secrets."""

from __future__ import annotations

import dataclasses
import json

import pytest
import yaml

from dragoman.ir import dump, model as ir
from dragoman.refs import Origin, Ref
from tests.unit.ir.build import CERTIFICATE, PLAIN, View, forward, plain, route, service


def test_defaults_are_left_out_and_unions_carry_a_name() -> None:
    made = route("it", "/cart", forward(("cart", 9), "other"), headers=[ir.HeaderMatch("x-a", ir.Present())])
    assert dump.plain(made) == {
        "name": "it",
        "match": {"path": {"SegmentPrefix": "/cart"}, "headers": [{"name": "x-a", "value": "Present"}]},
        "action": {
            "Forward": [
                {"cluster": "Service shop/cart:80", "weight": 9},
                {"cluster": "Service shop/other:80"},
            ]
        },
        "origin": "HTTPRoute shop/cart spec.rules[0]",
    }
    rewritten = dataclasses.replace(
        forward("cart"), rewrite=ir.ReplaceFullPath("/x"), timeout=0.5, hostname="h"
    )
    assert dump.plain(rewritten)["Forward"] == {
        "backends": [{"cluster": "Service shop/cart:80"}],
        "rewrite": {"ReplaceFullPath": "/x"},
        "hostname": "h",
        "timeout": 0.5,
    }


def test_secrets_appear_as_fingerprints() -> None:
    secret = ir.Secret(CERTIFICATE, b"certificate", b"hush")
    text = json.dumps(dump.plain(secret))
    assert "hush" not in text
    assert "sha256:" in text
    assert text != json.dumps(dump.plain(ir.Secret(CERTIFICATE, b"certificate", b"other")))


def test_a_whole_group_survives_yaml() -> None:
    listeners, hosts = plain({"shop.example": [route("it")]})
    hosts[PLAIN]["*"] = ir.VirtualHost(PLAIN, "*", (), misdirected=True)
    key = service("cart")
    gateway = Ref("gateway.networking.k8s.io", "Gateway", "shop", "edge")
    origin = Origin(gateway, ("spec", "listeners", 0))
    view = View(
        listeners,
        hosts,
        {key: ir.Cluster(key, ir.Discovery.EDS)},
        {key: ir.EndpointSet(key, (ir.Endpoint("10.0.0.1", 8080, health=ir.Health.DRAINING),))},
        {
            Ref("", "HTTPRoute", "shop", "cart"): ir.RouteSet(
                gateway, (ir.Stand((ir.Attachment(gateway, "http", ("a",)),), ()),)
            )
        },
        {
            gateway: ir.Gateway(
                gateway,
                (),
                (ir.GatewayListener("http", 80, ir.Protocol.HTTP, "", None, origin),),
                ("", ""),
                origin,
            )
        },
    )
    data = dump.view(view)
    assert yaml.safe_load(yaml.safe_dump(data, sort_keys=False)) == data
    assert data["hosts"]["127.0.0.1:80"]["*"] == "misdirected"
    assert data["clusters"] == {"Service shop/cart:80": {"discovery": "eds"}}
    assert data["endpoints"] == {
        "Service shop/cart:80": [{"address": "10.0.0.1", "port": 8080, "health": "draining"}]
    }


def test_only_ir_values() -> None:
    with pytest.raises(TypeError, match="object is no IR value"):
        dump.plain(object())
