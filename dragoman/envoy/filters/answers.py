"""Other answers to those who may not pass, as a route's policies want them. Called by `custom_response`.

A refusal is told by its response code details (`refusals`), before overrides by status are looked at. Envoy
drops all headers of the answer it replaces: the challenge that belongs to 401 is written anew.
"""

from __future__ import annotations

import functools
import json
from typing import Any, Final

from dragoman import proto
from dragoman.envoy import headers, refusals, replies, templates
from dragoman.ir import answers, model as ir
from dragoman.proto.cel import expr
from dragoman.proto.envoy.extensions.filters.http.custom_response import v3 as custom_response
from dragoman.proto.envoy.extensions.http.custom_response.local_response_policy import v3 as local_response
from dragoman.proto.xds.type.matcher import v3 as xds

_UNAUTHORIZED: Final = 401
_OPERATORS: Final = {
    "CURRENT_SCOPES": replies.CURRENT_SCOPES,
    "METHOD": "%REQ(:METHOD)%",
    "HOST": "%REQ(:AUTHORITY)%",
    "PATH": "%PATH(NQ:ORIG_OR_PATH)%",
    "REQUEST_ID": "%REQ(X-REQUEST-ID)%",
    "TIME": "%START_TIME%",
}


def config(route: ir.Route) -> bytes:
    """A serialised `CustomResponse` with them. Others can be written behind it, as protobuf joins lists."""
    if route.auth is None or not route.auth.answers:
        return b""
    return _config(tuple(refusals.on(route)), route.auth.answers, route.auth.scopes, _challenges(route.auth))


@functools.lru_cache(maxsize=4096)
def _config(
    possible: tuple[refusals.Refusal, ...],
    given: tuple[answers.Answer, ...],
    scopes: tuple[str, ...],
    challenges: str,
) -> bytes:
    wanted = {one.error: one for one in given}
    made = custom_response.CustomResponse()
    listed = made.custom_response_matcher.matcher_list.matchers
    for at, refusal in enumerate(possible):
        if refusal.error in wanted:
            # Those before it that nobody words anew are still not this one.
            others = [one for one in possible[:at] if one.asks == refusal.asks and one.error not in wanted]
            tree = refusals.tree(refusal.clues, [clue for one in others for clue in one.clues])
            entry = listed.add()
            _recognise(entry.predicate.single_predicate, tree)
            action = entry.on_match.action
            action.name = refusal.error
            policy = _policy(refusal, wanted[refusal.error], scopes, challenges)
            action.typed_config.CopyFrom(proto.pack_any(policy))
    return proto.serialize(made)


def _recognise(target: xds.Matcher.MatcherList.Predicate.SinglePredicate, tree: expr.Expr) -> None:
    target.input.name = "refusal"
    target.input.typed_config.CopyFrom(proto.pack_any(xds.HttpAttributesCelMatchInput()))
    matcher = xds.CelMatcher()
    matcher.expr_match.cel_expr_parsed.expr.CopyFrom(tree)
    target.custom_match.name = "refusal"
    target.custom_match.typed_config.CopyFrom(proto.pack_any(matcher))


def _policy(
    refusal: refusals.Refusal, wanted: answers.Answer, scopes: tuple[str, ...], challenges: str
) -> local_response.LocalResponsePolicy:
    status = wanted.status or refusal.status
    said: dict[str, Any] = {
        "ERROR": refusal.error,
        "MESSAGE": refusal.message,
        "STATUS": status,
        "REQUIRED_SCOPES": list(scopes),
    }
    # Not the details that it has: by these the usual answer would be made of it again.
    made = local_response.LocalResponsePolicy(response_code_details=f"refused_{refusal.error}")
    made.status_code.value = status
    if wanted.body is not None:
        if wanted.json:
            templates.write_json(made.body_format, _json(json.loads(wanted.body), said))
        else:
            made.body_format.text_format_source.inline_string = _text(wanted.body, said)
        made.response_headers_to_add.append(
            templates.option("content-type", wanted.content_type, overwrite=True)
        )
    own = [(name, _text(value, said)) for name, value in wanted.headers]
    if status == _UNAUTHORIZED and all(name != "www-authenticate" for name, _ in own):
        own.append(("www-authenticate", headers.literal(challenges)))
    made.response_headers_to_add.extend(templates.pairs(tuple(own)))
    return made


def _json(value: Any, said: dict[str, Any]) -> Any:
    """A text that is one placeholder becomes the value itself; those that Envoy fills in do so there."""
    if isinstance(value, dict):
        return {_literal(name): _json(one, said) for name, one in value.items()}
    if isinstance(value, list):
        return [_json(one, said) for one in value]
    if not isinstance(value, str):
        return value
    whole = answers.TOKEN.fullmatch(value)
    if whole is not None and whole[1] in said:
        found = said[whole[1]]
        return [_literal(one) for one in found] if isinstance(found, list) else found
    return _text(value, said)


def _text(text: str, said: dict[str, Any]) -> str:
    def one(found: Any) -> str:
        name = found[1]
        if name in said:
            value = said[name]
            return _literal(" ".join(value) if isinstance(value, list) else str(value))
        return _OPERATORS.get(name, "%%")

    return answers.TOKEN.sub(one, text)


def _literal(text: str) -> str:
    return text.replace("%", "%%")


def _challenges(auth: ir.Auth) -> str:
    """Everything that a client may try."""
    found = [
        refusals.BEARER if any((auth.jwt, auth.login, auth.introspection)) else "",
        f'Basic realm="{auth.basic.realm}"' if auth.basic is not None else "",
        "ApiKey" if auth.keys is not None or auth.redis_keys is not None else "",
    ]
    return ", ".join(one for one in found if one)
