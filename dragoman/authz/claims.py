"""An issuer's answer about a token (RFC 7662, section 2.2): what it means for the request. Pure.

What cannot be understood is trouble, never a yes: `active` that is no boolean, times that are no numbers,
what is too large to be handed on whole.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from dragoman import proto
from dragoman.authz.verdicts import Denial, Grant, Pairs, Trouble, Verdict
from dragoman.envoy import authz
from dragoman.ir import model as ir
from dragoman.proto.google.protobuf import Value

_DEPTH: Final = 16
"""Levels of nested claims. Envoy itself reads about twice as many."""
_LONGEST: Final = 4096
"""Characters of a header that a claim becomes."""

_INACTIVE: Final = Denial(401, "invalid_token", "the token is not active", "inactive", "invalid_token")
_EXPIRED: Final = Denial(401, "token_expired", "the token has expired", "expired", "invalid_token")
_EARLY: Final = Denial(401, "invalid_token", "the token is not valid yet", "early", "invalid_token")
_ISSUER: Final = Denial(401, "invalid_token", "the token is another issuer's", "issuer", "invalid_token")
_AUDIENCE: Final = Denial(
    401, "invalid_token", "the token is not for this service", "audience", "invalid_token"
)


class Judged(NamedTuple):
    """`active`: what the issuer says; a token may be active and of no use here. `begin` and `end` of the
    token, in seconds since 1970 (infinities where it has none)."""

    verdict: Verdict
    active: bool
    begin: float = -math.inf
    end: float = math.inf


def judge(told: ir.Introspector, body: bytes, now: float) -> Judged | Trouble:
    """What the answer `body` means at the time `now` (seconds since 1970)."""
    try:
        claims = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Trouble("malformed")
    if not isinstance(claims, dict) or not isinstance(claims.get("active"), bool):
        return Trouble("malformed")
    if not claims["active"]:
        return Judged(_INACTIVE, False)
    begin, end = _time(claims.get("nbf"), -math.inf), _time(claims.get("exp"), math.inf)
    if begin is None or end is None:
        return Trouble("malformed")
    refusal = _refusal(told, claims, begin, end, now)
    if refusal is not None:
        return Judged(refusal, True, begin, end)
    if told.issuer:
        claims.setdefault("iss", told.issuer)  # by which Consumers are known: it was asked, so it says so
    if isinstance(claims.get("scope"), str):
        claims["scope"] = claims["scope"].split()  # a list, as it is of a checked token
    header = _encoded(claims)
    if header is None:
        return Trouble("too_large")
    return Judged(Grant(((authz.TOKEN, header), *_headers(told, claims))), True, begin, end)


def _refusal(
    told: ir.Introspector, claims: Mapping[str, Any], begin: float, end: float, now: float
) -> Denial | None:
    if end <= now:
        return _EXPIRED
    if begin > now:
        return _EARLY
    # Whoever is asked speaks for the issuer: it may leave the name out, but not say another.
    if told.issuer and claims.get("iss", told.issuer) != told.issuer:
        return _ISSUER
    if told.audiences:
        said = claims.get("aud")
        names = said if isinstance(said, list) else [said]
        if not any(isinstance(one, str) and one in told.audiences for one in names):
            return _AUDIENCE
    return None


def _time(value: Any, default: float) -> float | None:
    """None for what is no time."""
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def _headers(told: ir.Introspector, claims: Mapping[str, Any]) -> Pairs:
    found = ((header, _text(_at(claims, claim))) for header, claim in told.claims)
    return tuple((header, text) for header, text in found if text)


def _at(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of that name, else the one that its dots lead to."""
    if path in claims:
        return claims[path]
    here: Any = claims
    for step in path.split("."):
        here = here.get(step) if isinstance(here, dict) else None
    return here


def _text(value: Any) -> str:
    """A claim as a header's value; "" for what cannot be one. An entry of a list with a comma in it would
    pass for two, so it is left out."""
    if isinstance(value, list):
        parts = [_text(one) for one in value if not isinstance(one, list)]
        return _fitting(",".join(part for part in parts if part and "," not in part))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1 << 53 else repr(value)
    return _fitting(value) if isinstance(value, str) else ""


def _fitting(text: str) -> str:
    """No header ends another, or begins one; and spaces around a text are lost on the way, by which two of
    them may differ."""
    return text if len(text) <= _LONGEST and text.isprintable() and text == text.strip() else ""


def _encoded(claims: dict[str, Any]) -> str | None:
    """All claims as Envoy takes them into metadata; None where they are too many."""
    value = Value()
    if not _fill(value, claims, _DEPTH):
        return None
    text = base64.b64encode(proto.serialize(value)).decode()
    return text if len(text) <= authz.LARGEST else None


def _fill(target: Value, data: Any, depth: int) -> bool:
    """Whether all of `data` went into `target`."""
    match data:
        case None:
            target.null_value = 0  # type: ignore[assignment]
        case bool():
            target.bool_value = data
        case int() | float():
            target.number_value = data
        case str():
            target.string_value = data
        case _ if depth == 0:
            return False
        case list():
            target.list_value.SetInParent()
            return all(_fill(target.list_value.values.add(), one, depth - 1) for one in data)
        case _:
            target.struct_value.SetInParent()
            return all(_fill(target.struct_value.fields[name], one, depth - 1) for name, one in data.items())
    return True
