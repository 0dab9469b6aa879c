"""Rules as resources for the Go service: what is said in them, and what is said to be lost."""

from __future__ import annotations

import textwrap
from typing import Any

from dragoman import proto
from dragoman.ratelimit import goconfig, goresources, rules


def made(text: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    read = goconfig.read("limits.yaml", textwrap.dedent(text))
    assert read.good, read.diagnostics
    found = goresources.make(rules.Table(read.rules))
    messages = {
        name: proto.to_dict(proto.message(goresources.TYPE_URL).FromString(content))
        for name, content in found.resources.items()
    }
    return messages, found.losses


def test_a_file_of_the_go_services_goes_through_unchanged() -> None:
    messages, losses = made("""
        domain: shop
        descriptors:
        - key: user
          rate_limit: {unit: minute, requests_per_unit: 100, name: per-user, replaces: [{name: all}]}
        - key: user
          value: partner-*
          shadow_mode: true
          rate_limit: {unit: week, requests_per_unit: 5000}
        - key: path
          value: /login
          detailed_metric: true
          rate_limit: {unlimited: true}
          descriptors:
          - key: address
            quota_mode: true
            rate_limit: {unit: year, requests_per_unit: 0}
    """)
    assert losses == ()
    assert messages == {
        "shop": {
            "name": "shop",
            "domain": "shop",
            "descriptors": [
                {
                    "key": "path",
                    "value": "/login",
                    "detailed_metric": True,
                    "rate_limit": {"unlimited": True},
                    "descriptors": [{"key": "address", "quota_mode": True, "rate_limit": {"unit": "YEAR"}}],
                },
                {
                    "key": "user",
                    "value": "partner-*",
                    "shadow_mode": True,
                    "rate_limit": {"unit": "WEEK", "requests_per_unit": 5000},
                },
                {
                    "key": "user",
                    "rate_limit": {
                        "unit": "MINUTE",
                        "requests_per_unit": 100,
                        "name": "per-user",
                        "replaces": [{"name": "all"}],
                    },
                },
            ],
        }
    }


def test_the_bytes_are_those_of_the_protocol() -> None:
    """Written by hand after the protocol's field numbers."""
    read = goconfig.read(
        "x", "domain: d\ndescriptors:\n- key: k\n  rate_limit: {unit: hour, requests_per_unit: 7}\n"
    )
    found = goresources.make(rules.Table(read.rules))
    assert found.resources["d"] == b"\x0a\x01d\x12\x01d\x1a\x09\x0a\x01k\x1a\x04\x08\x03\x10\x07"


def test_what_the_type_has_no_place_for_is_said() -> None:
    messages, losses = made("""
        domain: shop
        descriptors:
        - key: a
          rate_limit: {unit: minute, requests_per_unit: 1, algorithm: sliding_log}
        - key: b
          rate_limit: {unit: minute, unit_multiplier: 5, requests_per_unit: 1}
        - key: c
          value: x*
          share_threshold: true
          rate_limit: {unit: minute, requests_per_unit: 1}
        - key: d
          rate_limit: {unit: minute, requests_per_unit: 1, cost: 3}
    """)
    assert [loss.split(":")[0] for loss in losses] == ["shop.c_x*", "shop.a", "shop.b", "shop.d"]
    assert "rate_limit" not in next(d for d in messages["shop"]["descriptors"] if d["key"] == "b")
