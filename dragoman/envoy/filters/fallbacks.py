"""Responses instead of those that no backend gave (Envoy's `custom_response` filter).

What counts is a response that Envoy made itself with one of `_UNREACHED`: no healthy endpoint, refused
connections, an open circuit breaker, a timeout. A backend's own response is replaced only where its status is
asked for. The answer leaves at once: filters that would change responses do not see it, so the
CORS headers that a browser needs are made here.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any, Final

from dragoman import proto
from dragoman.envoy import limit_keys
from dragoman.envoy.filters import base
from dragoman.ir import model as ir, origins
from dragoman.proto.envoy.extensions.filters.http.custom_response import v3 as custom_response
from dragoman.proto.envoy.extensions.http.custom_response.local_response_policy import v3 as local_response
from dragoman.proto.envoy.type.matcher import v3 as matcher

_UNREACHED: Final = (502, 503, 504)

_Json = dict[str, Any]


class Fallbacks:
    """`envoy.filters.http.custom_response`, under a name of its own."""

    name = "dragoman.fallback"
    disabled = True

    def config(self) -> base.Config:
        return base.config(custom_response.CustomResponse())

    def per_route(self, route: ir.Route) -> base.Config | None:
        action = route.action
        if not isinstance(action, ir.Forward) or action.fallback is None or action.fallback.answer is None:
            return None
        return _per_route(action.fallback.answer, action.fallback.codes, route.cors)


FILTER = Fallbacks()


@functools.lru_cache(maxsize=1024)
def _per_route(answer: ir.Answer, codes: tuple[int, ...], cors: ir.Cors | None) -> base.Config:
    local = _is(matcher.HttpResponseLocalReplyMatchInput(), "true")
    unreached = {"and_matcher": {"predicate": [local, _any_of(_statuses(_UNREACHED))]}}
    action = {
        "name": "answer",
        "typed_config": _packed(local_response.LocalResponsePolicy(), _policy(answer, cors)),
    }
    matchers = [{"predicate": _any_of([unreached, *_statuses(codes)]), "on_match": {"action": action}}]
    message = custom_response.CustomResponse()
    proto.merge_dict(message, {"custom_response_matcher": {"matcher_list": {"matchers": matchers}}})
    return base.config(message)


def _statuses(codes: tuple[int, ...]) -> list[_Json]:
    return [_is(matcher.HttpResponseStatusCodeMatchInput(), str(code)) for code in codes]


def _is(what: proto.Message, value: str) -> _Json:
    return {
        "single_predicate": {
            "input": {"name": "input", "typed_config": _packed(what, {})},
            "value_match": {"exact": value},
        }
    }


def _any_of(several: list[_Json]) -> _Json:
    return several[0] if len(several) == 1 else {"or_matcher": {"predicate": several}}


def _packed(message: proto.Message, fields: _Json) -> _Json:
    return {"@type": proto.type_url(message), **fields}


def _policy(answer: ir.Answer, cors: ir.Cors | None) -> _Json:
    """LocalResponsePolicy. Envoy calls every body text/plain unless a header says more."""
    headers = dict(answer.headers)
    if answer.json:
        headers.setdefault("content-type", "application/json")
    policy: _Json = {
        "status_code": answer.status,
        "response_headers_to_add": [_header(name, value) for name, value in headers.items()],
    }
    if answer.json:
        policy["body_format"] = {"json_format": json.loads(answer.json)}
    elif answer.text:
        policy["body_format"] = {"text_format_source": {"inline_string": answer.text}}
    else:
        policy["body"] = {"inline_string": ""}
    if cors is not None:
        policy["response_headers_to_add"] += _cors(cors)
    return policy


def _header(name: str, value: str) -> _Json:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _origins(cors: ir.Cors) -> Iterator[str]:
    """What holds for allowed origins, each by itself: Envoy takes no large expressions."""
    origin = 'request.headers["origin"]'
    if "*" in cors.allow_origins:
        yield f'{origin} != ""'
        return
    for one in cors.allow_origins:
        if "*" in one:
            yield f"{origin}.matches({limit_keys.text(origins.expression(one) + '$')})"
        else:
            yield f"{origin} == {limit_keys.text(one)}"
    for pattern in cors.patterns:
        yield f"{origin}.matches({limit_keys.text(f'^(?:{pattern})$')})"


def _cors(cors: ir.Cors) -> list[_Json]:
    """The headers without which a browser keeps the answer from its page; only for allowed origins."""
    allowed = f'"origin" in request.headers && ({" || ".join(_origins(cors)) or "false"})'
    found = [_header("access-control-allow-origin", f'%CEL({allowed} ? request.headers["origin"] : "")%')]
    if cors.allow_credentials:
        value = f'%CEL({allowed} ? "true" : "")%'
        found.append(_header("access-control-allow-credentials", value))
    if cors.exposed:
        value = json.dumps(", ".join(cors.exposed))
        found.append(_header("access-control-expose-headers", f'%CEL({allowed} ? {value} : "")%'))
    return found
