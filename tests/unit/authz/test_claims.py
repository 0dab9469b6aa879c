"""What an issuer's answer means."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from dragoman.authz import claims
from dragoman.authz.verdicts import Denial, Grant, Trouble
from dragoman.envoy import authz
from dragoman.ir import model as ir
from dragoman.proto.google.protobuf import Value

NOW = 1_700_000_000.0
TOLD = ir.Introspector(
    "shop/tokens",
    "https://issuer.example/introspect",
    "gateway",
    "secret",
    ir.Places((("authorization", "Bearer "),)),
    claims=(
        ("x-user-id", "sub"),
        ("x-user-roles", "realm.roles"),
        ("x-level", "level"),
        ("x-urn", "https://c.example/x"),
    ),
)


def judge(told: ir.Introspector = TOLD, **said: Any) -> claims.Judged | Trouble:
    return claims.judge(told, json.dumps({"active": True, **said}).encode(), NOW)


def granted(told: ir.Introspector = TOLD, **said: Any) -> dict[str, str]:
    found = judge(told, **said)
    assert isinstance(found, claims.Judged)
    assert isinstance(found.verdict, Grant), found
    return dict(found.verdict.headers)


def refused(told: ir.Introspector = TOLD, **said: Any) -> str:
    found = judge(told, **said)
    assert isinstance(found, claims.Judged)
    assert isinstance(found.verdict, Denial), found
    assert found.verdict.status == 401
    return found.verdict.outcome


def test_claims_become_headers() -> None:
    found = granted(
        sub="ann", realm={"roles": ["a", "b", 3, True]}, level=7, **{"https://c.example/x": "literal"}
    )
    found.pop(authz.TOKEN)
    assert found == {
        "x-user-id": "ann",
        "x-user-roles": "a,b,3,true",
        "x-level": "7",
        "x-urn": "literal",
    }


@pytest.mark.parametrize(
    "value",
    [
        "a\r\nx-admin: yes",
        "a\nb",
        "a\x00",
        {"an": "object"},
        None,
        "x" * 5000,
        [["nested"]],
        "",
        " ",
        "ann ",
        " ann",
    ],
)
def test_what_can_be_no_header_is_left_out(value: Any) -> None:
    assert "x-user-id" not in granted(sub=value)


def test_an_entry_of_a_list_never_passes_for_two() -> None:
    assert granted(realm={"roles": ["user", "x,admin", "b\n", " admin"]})["x-user-roles"] == "user"


def test_all_claims_go_to_metadata_with_scopes_as_a_list() -> None:
    text = granted(scope="cart:read  cart:write", nested={"deep": [1, {"x": None}]}, sub="ann")[authz.TOKEN]
    value = Value.FromString(base64.b64decode(text)).struct_value
    assert [one.string_value for one in value.fields["scope"].list_value.values] == [
        "cart:read",
        "cart:write",
    ]
    assert value.fields["nested"].struct_value.fields["deep"].list_value.values[0].number_value == 1
    assert value.fields["sub"].string_value == "ann"
    listed = granted(scope=["a", "b"])[authz.TOKEN]
    assert len(Value.FromString(base64.b64decode(listed)).struct_value.fields["scope"].list_value.values) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"true",
        b"null",
        b'"active"',
        b"{}",
        b'{"active": "true"}',
        b'{"active": 1}',
        b'{"active": null}',
        b'{"active": true, "exp": "1900000000"}',
        b'{"active": true, "exp": true}',
        b'{"active": true, "nbf": []}',
        b'{"active": true, "exp": NaN}',
        b'{"active": true, "exp": 1e999}',
        b'{"active": true, "sub": "\xff"}',
        b"\xef\xbb\xbf" + b'{"active": true}x',
    ],
)
def test_what_nobody_understands_is_no_yes(body: bytes) -> None:
    found = claims.judge(TOLD, body, NOW)
    assert found == Trouble("malformed")


def test_what_cannot_be_handed_on_whole_is_trouble() -> None:
    assert judge(padding="x" * 9000) == Trouble("too_large")
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    assert judge(deep=deep) == Trouble("too_large")


def test_times() -> None:
    assert refused(exp=NOW) == "expired"
    assert refused(exp=NOW - 1) == "expired"
    assert refused(nbf=NOW + 1) == "early"
    assert granted(exp=NOW + 1, nbf=NOW)
    found = judge(exp=NOW + 60, nbf=NOW - 1)
    assert isinstance(found, claims.Judged)
    assert (found.begin, found.end) == (NOW - 1, NOW + 60)


def test_inactive() -> None:
    found = claims.judge(TOLD, b'{"active": false, "sub": "ann", "exp": "odd"}', NOW)
    assert isinstance(found, claims.Judged)
    assert not found.active
    assert isinstance(found.verdict, Denial)
    assert found.verdict.error == "invalid_token"


def test_issuer_and_audience() -> None:
    strict = ir.Introspector(
        TOLD.policy, TOLD.endpoint, "c", "s", TOLD.places, issuer="https://a", audiences=("shop", "cart")
    )
    assert granted(strict, iss="https://a", aud="shop")
    assert granted(strict, aud=["other", "cart"]), "whoever is asked may leave its name out"
    assert refused(strict, iss="https://b", aud="shop") == "issuer"
    assert refused(strict, iss=None, aud="shop") == "issuer"
    assert refused(strict, iss="https://a") == "audience"
    assert refused(strict, aud="shopping") == "audience"
    assert refused(strict, aud=[["shop"], 3, None]) == "audience"
    assert refused(strict, aud={"shop": True}) == "audience"


def test_an_answer_that_names_no_issuer_is_that_of_whoever_was_asked() -> None:
    """Consumers are known by it."""

    def issuer(told: ir.Introspector, **said: Any) -> str:
        value = Value.FromString(base64.b64decode(granted(told, **said)[authz.TOKEN]))
        return value.struct_value.fields["iss"].string_value if "iss" in value.struct_value.fields else ""

    told = replace(TOLD, issuer="https://issuer.example")
    assert issuer(told) == issuer(told, iss="https://issuer.example") == "https://issuer.example"
    assert issuer(TOLD) == ""
    assert refused(told, iss=None) == refused(told, iss="") == "issuer"
