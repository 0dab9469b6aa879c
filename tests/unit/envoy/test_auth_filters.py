"""Logins, passwords and refusals as Envoy's messages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dragoman import proto, resource
from dragoman.envoy import dump, refusals, routes
from dragoman.envoy.filters import answers as answers_filter, basic_auth, jwt_authn, oauth2
from dragoman.ir import answers, model as ir
from dragoman.proto.cel import expr
from dragoman.proto.envoy.extensions.filters.http.basic_auth import v3 as basic_proto
from dragoman.proto.envoy.extensions.filters.http.custom_response import v3 as custom_response
from dragoman.proto.envoy.extensions.filters.http.jwt_authn import v3 as jwt_proto
from dragoman.proto.envoy.extensions.filters.http.oauth2 import v3 as oauth2_proto
from dragoman.refs import Ref
from tests.unit.envoy.build import forward, route

POLICY = Ref("dragoman.dev", "AuthPolicy", "shop", "pages")
LOGIN = ir.Login(
    "1234abcd",
    ir.ClusterKey(Ref("", ir.HOST, "https", "id.example"), 443),
    "https://id.example/authorize",
    "https://id.example/token",
    "shop",
    ir.SecretKey(POLICY, "oidc-client"),
    ir.SecretKey(POLICY, "oidc-cookies"),
    ("openid",),
    "/callback",
    "/logout",
)
JWT = ir.Jwt((ir.JwtProvider("https://id.example", (), "{}"),))


def login(auth: ir.Auth) -> dict[str, Any]:
    made = oauth2.FILTER.per_route(replace(route(forward("shop")), auth=auth))
    assert made is not None
    found: dict[str, Any] = proto.to_dict(oauth2_proto.OAuth2PerRoute.FromString(made.value))["config"]
    return found


def test_a_login_has_secrets_by_sds_and_cookies_of_its_own() -> None:
    found = login(ir.Auth(login=LOGIN))
    credentials = found["credentials"]
    assert credentials["token_secret"]["name"] == "AuthPolicy/shop/pages/oidc-client"
    assert credentials["hmac_secret"]["name"] == "AuthPolicy/shop/pages/oidc-cookies"
    names = credentials["cookie_names"].values()
    assert len(set(names)) == 7
    assert all(name.startswith(f"{oauth2.COOKIES}1234abcd-") for name in names)
    assert {one["same_site"] for one in found["cookie_configs"].values()} == {"LAX"}
    assert len(found["cookie_configs"]) == 7
    assert found["token_endpoint"]["cluster"] == "Host/https/id.example/443"
    assert not {"forward_bearer_token", "forward_id_token", "pass_through_matcher"} & found.keys()


def test_only_tokens_that_are_checked_go_around_a_login() -> None:
    bearers = replace(LOGIN, checked=True, bearers=True)
    assert login(ir.Auth(JWT, login=bearers))["pass_through_matcher"][0]["string_match"] == {
        "prefix": "Bearer ",
        "ignore_case": True,
    }
    for jwt in (None, replace(JWT, optional=True)):
        assert "pass_through_matcher" not in login(ir.Auth(jwt, login=bearers))


@pytest.mark.parametrize("forwarded", [False, True])
def test_where_the_sessions_token_stands(forwarded: bool) -> None:
    checked = replace(LOGIN, checked=not forwarded, forward=forwarded)
    assert login(ir.Auth(login=checked))["forward_bearer_token"]
    found = login(ir.Auth(login=replace(checked, id_token=True)))
    header = "authorization" if forwarded else ir.ID_TOKEN[0]
    assert found["forward_id_token"] == {"header": header}
    assert "forward_bearer_token" not in found


def test_without_users_nobody_passes() -> None:
    """Envoy refuses an empty list."""
    made = basic_auth.FILTERS[0].per_route(
        replace(route(forward("shop")), auth=ir.Auth(basic=ir.Basic((), "r", "x")))
    )
    assert made is not None
    message = basic_proto.BasicAuthPerRoute.FromString(made.value)
    assert message.users.inline_string == "nobody:{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA="


def test_hashes_are_not_shown() -> None:
    basic = ir.Basic((("alice", b"twenty-bytes-of-hash"),), "r", "x")
    encoded = routes.encode_route(replace(route(forward("shop")), auth=ir.Auth(basic=basic)))
    assert encoded.sensitive
    assert not routes.encode_route(route(forward("shop"))).sensitive
    host = routes.encode_virtual_host(ir.Scope(ir.Bind("127.0.0.1", 80)), "*", [encoded], False)
    item = resource.make(resource.ROUTE, "a", host.chunk)
    assert "[redacted]" in str(dump.to_dict(item))
    assert "{SHA}" not in str(dump.to_dict(item))


def spelled(node: expr.Expr) -> str:
    """A tree as text."""
    if node.HasField("const_expr"):
        return f"'{node.const_expr.string_value}'"
    if node.HasField("ident_expr"):
        return node.ident_expr.name
    if node.HasField("select_expr"):
        return f"{spelled(node.select_expr.operand)}.{node.select_expr.field}"
    call = node.call_expr
    args = [spelled(one) for one in call.args]
    match call.function:
        case "_==_":
            return f"{args[0]} == {args[1]}"
        case "_||_":
            return " || ".join(args)
        case "_&&_":
            return " && ".join(f"({one})" for one in args)
        case "!_":
            return f"!({args[0]})"
        case method:
            return f"{spelled(call.target)}.{method}({args[0]})"


def test_both_readers_of_refusals_look_for_the_same() -> None:
    for one in refusals.REFUSALS:
        assert spelled(refusals.tree(one.clues)) == refusals.text(one.clues)
    both = refusals.tree((("is", "a"), ("is", "b")), (("starts", "c"),))
    details = "response.code_details"
    assert spelled(both) == f"({details} == 'a' || {details} == 'b') && (!({details}.startsWith('c')))"


def test_answers_are_for_what_a_route_can_refuse() -> None:
    given = (answers.Answer("unauthorized", 404), answers.Answer("invalid_key", 404))
    asked = replace(route(forward("shop")), auth=ir.Auth(JWT, answers=given))
    message = custom_response.CustomResponse.FromString(answers_filter.config(asked))
    (only,) = message.custom_response_matcher.matcher_list.matchers
    assert only.on_match.action.name == "unauthorized"
    assert answers_filter.config(replace(asked, auth=ir.Auth(JWT))) == b""


def test_a_provider_that_is_asked_for_in_two_ways_says_everything_once() -> None:
    """Claims would be told twice otherwise."""
    provider = ir.JwtProvider("https://id.example", ("shop",), "{}", claims=(("x-user-id", "sub"),))
    several = [ir.Jwt((provider,)), ir.Jwt((provider,), optional=True)]
    made = jwt_proto.JwtAuthentication.FromString(jwt_authn.FILTER.shared(several).value)
    (found,) = made.providers.values()
    assert len(made.requirement_map) == 2
    assert [one.header_name for one in found.claim_to_headers] == ["x-user-id"]
    assert list(found.audiences) == ["shop"]
