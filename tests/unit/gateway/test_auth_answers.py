"""Answers in a policy's own words: which texts can be filled in, and what routes get."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dragoman.envoy import refusals
from dragoman.ir import answers
from dragoman.refs import format_path
from tests.unit.gateway.test_auth import auths, closed, inline, policy
from tests.unit.gateway.test_policies import EDGE, FIRST, GATEWAY, ROUTE


@pytest.fixture
def edge(world: Any) -> Any:
    return world.apply(GATEWAY)


def test_every_error_can_be_worded() -> None:
    assert {one.error for one in refusals.REFUSALS} == set(answers.ERRORS)


def test_words_merge_error_by_error(edge: Any) -> None:
    edge.apply(
        policy(
            "p",
            EDGE,
            f"{inline()}\n  answers: {{forbidden: {{text: never}}, tokenExpired: {{json: {{a: [1]}}}}}}",
        ),
        policy("q", FIRST, "answers: {forbidden: {status: 404, headers: [{name: X-Why, value: '%ERROR%'}]}}"),
    )
    first, second, _ = auths(edge)
    assert first is not None
    assert second is not None
    expired = answers.Answer("token_expired", 0, json.dumps({"a": [1]}), True, "application/json")
    assert second.answers == (expired, answers.Answer("forbidden", 0, "never", False, "text/plain"))
    assert first.answers == (expired, answers.Answer("forbidden", 404, headers=(("x-why", "%ERROR%"),)))


@pytest.mark.parametrize(
    ("given", "code", "place", "says"),
    [
        ("{text: a, json: {}}", "DRG1108", "", "either"),
        ("{text: '100%'}", "DRG1110", ".text", "starts no placeholder"),
        ("{text: '%REQ(authorization)%'}", "DRG1110", ".text", "starts no placeholder"),
        ("{text: '%PATH%'}", "DRG1110", ".text", "for `json` alone"),
        ("{text: '%COOKIE%'}", "DRG1110", ".text", "is no placeholder"),
        ("{json: {a: [b, {c: '%MESAGE%'}]}}", "DRG1110", ".json.a[1].c", "is no placeholder"),
        ("{json: {'%PATHS%': 1}}", "", "", ""),
        ("{status: 200}", "DRG1104", ".status", ""),
        ("{contentType: '%ERROR%', text: a}", "DRG1103", ".contentType", ""),
        ("{headers: [{name: Content-Type, value: a}]}", "DRG1106", ".headers[0].name", ""),
        ("{headers: [{name: a, value: '%HOST%'}]}", "DRG1110", ".headers[0].value", "for `json` alone"),
        ("{json: {a: .nan}}", "DRG1103", ".json", ""),
    ],
)
def test_what_is_wrong(edge: Any, given: str, code: str, place: str, says: str) -> None:
    edge.apply(policy("p", ROUTE, f"answers: {{insufficientScope: {given}}}"))
    found = edge.rejected[edge.ref("AuthPolicy", "p")]
    if not code:
        assert not found
        return
    assert (found[0].code, format_path(found[0].path)) == (code, f"spec.answers.insufficientScope{place}")
    assert says in f"{found[0].message} {found[0].label}"
    assert closed(edge) == [True, True, True]


def test_an_error_that_there_is_not(edge: Any) -> None:
    edge.apply(policy("p", ROUTE, "answers: {teapot: {text: a}}"))
    assert [one.code for one in edge.rejected[edge.ref("AuthPolicy", "p")]] == ["DRG1101"]
