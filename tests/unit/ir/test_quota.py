"""Quotas that Envoy would crash on, let everything pass, or keep badly: what is said of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dragoman.diagnostics import codes
from dragoman.ir import quota
from dragoman.ir.quota import Blanket, Bucket, Part, PerUnit, Quota

GOOD = Quota(1000, 1.0, (Part("limit", 1), Part("plan", 5)))


def said(one: Quota) -> list[tuple[str, bool, str]]:
    found = quota.reasons(one)
    assert all(each.code in codes.CODES and each.message and each.help for each in found)
    return [(each.code, each.error, each.field) for each in found]


@pytest.mark.parametrize(
    "good",
    [
        GOOD,
        replace(GOOD, unassigned=Blanket.DENY, expired=None),
        replace(GOOD, expired=Blanket.ALLOW),
        replace(GOOD, expired=Bucket(5, 20, 1.0)),
        replace(GOOD, requests=0, window=3600.0),
        replace(GOOD, requests=60, window=60.0),
    ],
)
def test_nothing_is_said_of_a_good_quota(good: Quota) -> None:
    assert said(good) == []


@pytest.mark.parametrize(
    ("wrong", "code", "error", "field"),
    [
        (replace(GOOD, unassigned=Bucket(5, 5, 1.0)), "DRG1971", True, "unassigned"),
        (replace(GOOD, unassigned=PerUnit(5, "second")), "DRG1971", True, "unassigned"),
        (replace(GOOD, expired=PerUnit(5, "second")), "DRG1971", True, "expired"),
        (replace(GOOD, expired=Blanket.REUSE), "DRG1971", True, "expired"),
        (replace(GOOD, unassigned=Blanket.REUSE), "DRG1971", True, "unassigned"),
        (replace(GOOD, expired=Bucket(5, 5, 0.5)), "DRG1971", True, "expired"),
        (replace(GOOD, expired=Bucket(5, 5, 1.5)), "DRG1971", True, "expired"),
        (replace(GOOD, expired=Bucket(0, 5, 1.0)), "DRG1971", True, "expired"),
        (replace(GOOD, expired=Bucket(5, 1 << 32, 1.0)), "DRG1971", True, "expired"),
        (replace(GOOD, expired_for=0.5), "DRG1971", True, "expired_for"),
        (replace(GOOD, parts=()), "DRG1971", True, "parts"),
        (replace(GOOD, expired=None), "DRG1972", False, "expired"),
        (replace(GOOD, parts=(*GOOD.parts, Part("x-session"))), "DRG1973", True, "parts"),
        (replace(GOOD, parts=(Part("a", 1000), Part("b", 21))), "DRG1973", True, "parts"),
        (replace(GOOD, requests=10, window=60.0), "DRG1974", False, "requests"),
        (replace(GOOD, exact=True), "DRG1974", False, "requests"),
    ],
)
def test_what_is_wrong_is_said_once(wrong: Quota, code: str, error: bool, field: str) -> None:
    assert said(wrong) == [(code, error, field)]


def test_everything_is_said_at_once() -> None:
    bad = Quota(1, 60.0, (Part("x-session"),), Bucket(1, 1, 0.1), Blanket.REUSE, 0.0)
    assert [code for code, *_ in said(bad)] == ["DRG1971", "DRG1971", "DRG1971", "DRG1973", "DRG1974"]
