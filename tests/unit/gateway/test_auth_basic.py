"""User names and passwords: which lines of a Secret are users, and what is said of the others."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from dragoman.ir import dump, model as ir
from dragoman.refs import format_path
from dragoman.translators.gateway.policies import auth_basic
from tests.unit.gateway.conftest import spoken
from tests.unit.gateway.test_auth import auths, closed, policy
from tests.unit.gateway.test_policies import EDGE, FIRST, GATEWAY, ROUTE

BASIC = "basic: {secretRefs: [{name: users}]}"


def digest(password: str) -> bytes:
    return hashlib.sha1(password.encode(), usedforsecurity=False).digest()


def hashed(password: str) -> str:
    return base64.b64encode(digest(password)).decode()


def users(*lines: str, name: str = "users") -> str:
    text = "".join(f"    {one}\n" for one in lines)
    return f"kind: Secret\nmetadata: {{name: {name}}}\nstringData:\n  .htpasswd: |\n{text}"


ALICE, BOB = f"alice:{{SHA}}{hashed('a')}", f"bob:{{SHA}}{hashed('b')}"


@pytest.fixture
def edge(world: Any) -> Any:
    return world.apply(GATEWAY)


def asked(edge: Any) -> ir.Basic:
    auth = auths(edge)[0]
    assert auth is not None
    assert auth.basic is not None
    return auth.basic


def findings(edge: Any) -> list[str]:
    """The messages about users, in order."""
    return [
        one.message
        for ref in edge.outputs.diagnostics.keys()  # noqa: SIM118 (a collection, not a mapping)
        for one in edge.outputs.diagnostics.get(ref)
        if one.code == "DRG1851"
    ]


def test_users_of_a_policy(edge: Any) -> None:
    edge.apply(users("# people", BOB, "", ALICE), policy("p", EDGE, BASIC))
    assert asked(edge) == ir.Basic(
        (("alice", digest("a")), ("bob", digest("b"))), "restricted", "x-consumer-id"
    )
    for shown in (repr(auths(edge)[0]), str(dump.plain(auths(edge)[0]))):
        assert hashed("a") not in shown
        assert repr(digest("a")) not in shown
    assert closed(edge) == [False, False, False]
    assert not findings(edge)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("carol:$2y$05$abcdefghijklmnopqrstuuJ8m0rVxwJY6vCqg3H1qk2o9n5sKZx8i", "bcrypt"),
        ("carol:$apr1$abc$def", "MD5 (apr1)"),
        ("carol:{SSHA}abc", "salted SHA"),
        ("carol:$6$abc", "SHA-512 crypt"),
        ("carol:plain", "something else"),
        ("carol:{SHA}AAAA", "is no SHA-1"),
        ("carol:{SHA}!!!!", "is no SHA-1"),
        ("carol", "not of the form"),
        (f":{{SHA}}{hashed('c')}", "not of the form"),
        (f"ca rol:{{SHA}}{hashed('c')}", "not of the form"),
        (f"alice:{{SHA}}{hashed('other')}", "has another password already"),
    ],
)
def test_a_line_that_cannot_be_a_user_hurts_nobody_else(edge: Any, line: str, why: str) -> None:
    edge.apply(users(ALICE, line), policy("p", EDGE, BASIC))
    assert [name for name, _ in asked(edge).users] == ["alice"]
    assert asked(edge).users[0][1] == digest("a")
    (message,) = findings(edge)
    assert message.startswith("line 2 of `.htpasswd` in Secret default/users")
    assert why in message
    # What may be a password or its hash is never repeated.
    assert line.partition(":")[2] not in message or ":" not in line
    assert closed(edge) == [False, False, False]


def test_some_of_the_users(edge: Any) -> None:
    given = "basic: {secretRefs: [{name: users}], users: [bob, eve]}"
    edge.apply(users(ALICE, BOB), policy("p", EDGE, given))
    assert [name for name, _ in asked(edge).users] == ["bob"]
    assert findings(edge) == ["there is no user `eve`"]
    assert spoken(edge.status("AuthPolicy", "p")["ancestors"][0])["ResolvedRefs"] == "False InvalidUsers"


def test_several_secrets_and_one_that_is_not_there(edge: Any) -> None:
    both = "basic: {secretRefs: [{name: users}, {name: more}], realm: the shop, userHeader: X-Who}"
    edge.apply(users(ALICE), policy("p", FIRST, both))
    assert closed(edge) == [True, False, False]
    assert edge.finding("DRG1852").message == "Secret default/more is not there"
    edge.apply(users(BOB, name="more"))
    assert closed(edge) == [False, False, False]
    assert (asked(edge).realm, asked(edge).header) == ("the shop", "x-who")
    assert [name for name, _ in asked(edge).users] == ["alice", "bob"]
    edge.apply(users(BOB, name="more").replace(".htpasswd", "other"))
    assert edge.finding("DRG1852").message == "entry `.htpasswd` of Secret default/more is not there"


def test_without_any_user_nobody_passes(edge: Any) -> None:
    edge.apply(users("# nobody yet"), policy("p", EDGE, BASIC))
    assert asked(edge).users == ()
    assert closed(edge) == [False, False, False]


def test_too_many(edge: Any) -> None:
    many = [f"user{number:05}:{{SHA}}{hashed('a')}" for number in range(auth_basic.MOST + 2)]
    edge.apply(users(*many), policy("p", EDGE, BASIC))
    assert len(asked(edge).users) == auth_basic.MOST
    assert findings(edge) == ["1002 users are more than 1000"]


def test_switched_off_for_a_rule(edge: Any) -> None:
    edge.apply(users(ALICE), policy("p", EDGE, BASIC), policy("q", FIRST, "basic: {disabled: true}"))
    assert [one is None or one.basic is None for one in auths(edge)] == [True, False, False]


@pytest.mark.parametrize(
    ("spec", "code", "place"),
    [
        ("basic: {}", "DRG1102", "spec.basic"),
        ("basic: {secretRefs: []}", "DRG1107", "spec.basic.secretRefs"),
        ("basic: {secretRefs: [{name: a}], userHeader: Cookie}", "DRG1108", "spec.basic.userHeader"),
        ("basic: {secretRefs: [{name: a}], realm: 'a\"b'}", "DRG1103", "spec.basic.realm"),
        ("basic: {secretRefs: [{name: a}], users: ['a:b']}", "DRG1103", "spec.basic.users[0]"),
    ],
)
def test_what_is_wrong(edge: Any, spec: str, code: str, place: str) -> None:
    edge.apply(policy("p", ROUTE, spec))
    assert closed(edge) == [True, True, True]
    (found,) = edge.rejected[edge.ref("AuthPolicy", "p")]
    assert (found.code, format_path(found.path)) == (code, place)
