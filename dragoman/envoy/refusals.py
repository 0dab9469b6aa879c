"""Every way in which Envoy refuses those who may not pass: how to tell it, and what is said then.

One list for two readers: `replies` writes what every connection manager answers, `filters.answers` what a
route's policies want instead. What happened is in the response code details; these two look at it by CEL, the
one as text, the other as a tree, as Envoy wants it there.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from dragoman.envoy.filters import ext_authz, methods
from dragoman.ir import model as ir
from dragoman.proto.cel import expr

_DETAILS: Final = "response.code_details"
_METHODS: Final = {"starts": "startsWith", "matches": "matches"}

Clue = tuple[str, str]
"""How the details are compared (`is`, `starts` or `matches`, an RE2 expression), and with what. `refused`:
the companion says so, in metadata."""

REFUSED: Final = "refused"
"""Where the companion says which error its refusal is."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """`asks`: the part of a route's `Auth` (or `csrf`) that it comes from. `scoped`: only on routes whose
    rules ask for scopes (True), or for none (False). `was`: only with this status. `challenge`: what a client
    is asked for (RFC 9110, 11.6.1), where the filter does not say it."""

    error: str
    status: int
    message: str
    clues: tuple[Clue, ...]
    asks: str
    challenge: str = ""
    scoped: bool | None = None
    was: int = 0


BEARER: Final = "Bearer"
_BAD_TOKEN: Final = 'Bearer error="invalid_token"'
_KEY: Final = "ApiKey"

REFUSALS: Final = (
    Refusal(
        "token_expired",
        401,
        "the token has expired",
        (("starts", "jwt_authn_access_denied{Jwt_is_expired"),),
        "jwt",
        _BAD_TOKEN,
    ),
    Refusal(
        "unauthorized",
        401,
        "a token is needed",
        (("starts", "jwt_authn_access_denied{Jwt_is_missing"),),
        "jwt",
        BEARER,
    ),
    Refusal(
        "invalid_token",
        401,  # Envoy says 403 to a token for another audience
        "the token is not valid",
        (("starts", "jwt_authn_access_denied"),),
        "jwt",
        _BAD_TOKEN,
    ),
    Refusal("unauthorized", 401, "an API key is needed", (("is", "missing_api_key"),), "keys", _KEY),
    Refusal(
        "invalid_key",
        401,
        "the API key is not known",
        (("is", "unknown_api_key"), ("is", "missing_credentials")),
        "keys",
        _KEY,
    ),
    Refusal(
        "unauthorized",
        401,
        "a user name and a password are needed",
        (("is", "no_credential_for_basic_auth"), ("is", "invalid_scheme_for_basic_auth")),
        "basic",
        "Basic",
    ),
    Refusal(
        "invalid_credentials",
        401,
        "the user name or the password is wrong",
        (("is", "invalid_credential_for_basic_auth"), ("is", "invalid_format_for_basic_auth")),
        "basic",
        "Basic",
    ),
    Refusal(
        "unavailable",
        503,
        "nobody can log in at the moment",
        # Its secrets are not there yet, or the provider answered with 5xx, or not at all.
        (
            ("matches", "^OAuth2.secrets"),
            ("matches", "^Failed.to.get.access.token:[^0-9]*5"),
        ),
        "login",
    ),
    Refusal(
        "unauthorized",
        401,
        "a login is needed",
        # Of all filters, this one alone begins its details with a capital letter.
        (("matches", "^[A-Z]"),),
        "login",
        BEARER,
        was=401,
    ),
    Refusal(
        "unauthorized",
        401,
        "credentials are needed",
        (("is", f"rbac_access_denied_matched_policy[{methods.NONE}]"),),
        "needs",
        f"{BEARER}, {_KEY}",
    ),
    Refusal(
        "forbidden",
        403,
        "a client certificate is needed",
        (("is", f"rbac_access_denied_matched_policy[{methods.UNCHECKED}]"),),
        "certificate",
    ),
    Refusal(  # not the client's fault
        "unavailable",
        503,
        "the gateway cannot find out who may pass",
        (("is", "ext_authz_error"),),
        "external",
    ),
    Refusal(
        "forbidden",
        403,
        "the request comes from a page of another site",
        (("is", "csrf_origin_mismatch"),),
        "csrf",
    ),
    Refusal(
        "insufficient_scope",
        403,
        "the token may not do this",
        (("starts", "rbac_access_denied_matched_policy[none]"),),
        "rules",
        scoped=True,
    ),
    Refusal(
        "forbidden",
        403,
        "you may not do this",
        (("starts", "rbac_access_denied_matched_policy[none]"),),
        "rules",
        scoped=False,
    ),
)
"""The first that holds is meant."""

LOOKED_UP: Final = (
    Refusal("unauthorized", 401, "credentials are needed", ((REFUSED, "unauthorized"),), "lookups", BEARER),
    Refusal(
        "token_expired", 401, "the token has expired", ((REFUSED, "token_expired"),), "lookups", _BAD_TOKEN
    ),
    Refusal(
        "invalid_token", 401, "the token is not valid", ((REFUSED, "invalid_token"),), "lookups", _BAD_TOKEN
    ),
    Refusal("invalid_key", 401, "the API key is not known", ((REFUSED, "invalid_key"),), "lookups", _KEY),
    Refusal("forbidden", 403, "you may not do this", ((REFUSED, "forbidden"),), "lookups"),
    Refusal(
        "unavailable",
        503,
        "the gateway cannot find out who may pass",
        ((REFUSED, "unavailable"),),
        "lookups",
    ),
)
"""What the companion refuses (`dragoman authz`), in its own words; these are for those who want others."""


def on(route: ir.Route) -> Iterator[Refusal]:
    """Those that a route can come to."""
    auth = route.auth
    asked = auth is not None and (auth.introspection is not None or auth.redis_keys is not None)
    there = {
        "csrf": route.csrf is not None,
        "jwt": auth is not None and auth.jwt is not None,
        "keys": auth is not None and auth.keys is not None,
        "basic": auth is not None and auth.basic is not None,
        "login": auth is not None and auth.login is not None,
        "needs": auth is not None and auth.needs is not None,
        "certificate": auth is not None and auth.certificate is not None,
        "external": asked or (auth is not None and auth.external is not None),
        "lookups": asked,
        "rules": auth is not None and (auth.rules is not None or auth.keys is not None),
    }
    scoped = auth is not None and bool(auth.scopes)
    for one in (*REFUSALS, *LOOKED_UP):
        if there[one.asks] and one.scoped in (None, scoped):
            yield one


def tree(clues: Sequence[Clue], unless: Sequence[Clue] = ()) -> expr.Expr:
    """That one of `clues` holds, and none of `unless`, as a parsed expression."""
    made = _any(clues)
    if unless:
        made = _call("_&&_", made, _call("!_", _any(unless)))
    return _numbered(made)


def _any(clues: Sequence[Clue]) -> expr.Expr:
    return functools.reduce(lambda one, other: _call("_||_", one, other), [_one(*clue) for clue in clues])


def _call(function: str, *args: expr.Expr) -> expr.Expr:
    made = expr.Expr()
    made.call_expr.function = function
    made.call_expr.args.extend(args)
    return made


def _one(how: str, text: str) -> expr.Expr:
    if how == REFUSED:
        return _call("_==_", _refused(), _constant(text))
    details = expr.Expr()
    details.select_expr.field = "code_details"
    details.select_expr.operand.ident_expr.name = "response"
    value = _constant(text)
    if how == "is":
        return _call("_==_", details, value)
    made = _call(_METHODS[how], value)
    made.call_expr.target.CopyFrom(details)
    return made


def _constant(text: str) -> expr.Expr:
    made = expr.Expr()
    made.const_expr.string_value = text
    return made


def _refused() -> expr.Expr:
    """What the companion left in metadata."""
    found = expr.Expr()
    found.select_expr.field = "filter_metadata"
    found.select_expr.operand.ident_expr.name = "metadata"
    for step in (ext_authz.FILTER.name, REFUSED):
        found = _call("_[_]", found, _constant(step))
    return found


def _numbered(root: expr.Expr) -> expr.Expr:
    """Every node with a number of its own, as parsers give them."""
    waiting, number = [root], 0
    while waiting:
        number += 1
        node = waiting.pop()
        node.id = number
        if node.HasField("select_expr"):
            waiting.append(node.select_expr.operand)
        if node.HasField("call_expr"):
            waiting.extend(node.call_expr.args)
            if node.call_expr.HasField("target"):
                waiting.append(node.call_expr.target)
    return root


def text(clues: Sequence[Clue]) -> str:
    """The same as text."""
    parts = (
        f"{_DETAILS} == '{value}'" if how == "is" else f"{_DETAILS}.{_METHODS[how]}('{value}')"
        for how, value in clues
    )
    return " || ".join(parts)
