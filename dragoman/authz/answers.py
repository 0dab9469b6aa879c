"""From verdicts to Envoy's CheckResponse, in bytes. Pure; called by `service`.

Refusals look like those that Envoy makes by itself (`dragoman/envoy/replies.py`): JSON with `error` and
`message`. The error goes into metadata besides, for policies that word their refusals (`envoy.refusals`).
"""

from __future__ import annotations

import functools
import re
from typing import Final

import orjson

from dragoman import proto
from dragoman.authz.verdicts import Denial, Pairs
from dragoman.envoy import authz, refusals
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.service.auth import v3 as auth

_HOST: Final = re.compile(r"[A-Za-z0-9.:_\[\]-]{1,255}")
_CODES: Final = {401: 16, 403: 7, 429: 8, 503: 14}
"""HTTP status -> google.rpc.Code; anything but 0 is a refusal."""


@functools.lru_cache(maxsize=2048)
def allowed(headers: Pairs, told: Pairs, opened: tuple[str, ...] = ()) -> bytes:
    """The request passes, with these headers to the backend and `told` to the client. `opened`: the kinds of
    credentials about which nobody could be asked."""
    message = auth.CheckResponse()
    message.status.code = 0
    target = message.ok_response
    target.SetInParent()
    for name, value in headers:
        target.headers.add().header.MergeFrom(_header(name, value))
    for name, value in told:
        target.response_headers_to_add.add().header.MergeFrom(_header(name, value))
    for kind in opened:
        message.dynamic_metadata.fields[authz.OPEN].struct_value.fields[kind].bool_value = True
    return proto.serialize(message)


def denied(denial: Denial, host: str) -> bytes:
    """It does not; `host` is what the client asked."""
    message = auth.CheckResponse()
    message.status.code = _CODES[denial.status]
    target = message.denied_response
    target.status.code = denial.status  # type: ignore[assignment]
    headers = [("content-type", "application/json"), *denial.headers]
    if denial.challenge:
        headers.append(("www-authenticate", _challenge(denial, host)))
    for name, value in headers:
        target.headers.add().header.MergeFrom(_header(name, value))
    said = {"error": denial.error, "message": denial.message, **dict(denial.more)}
    message.dynamic_metadata.fields[refusals.REFUSED].string_value = denial.error
    target.body = orjson.dumps(said).decode()
    return proto.serialize(message)


def _header(name: str, value: str) -> core.HeaderValue:
    return core.HeaderValue(key=name, value=value)


def _challenge(denial: Denial, host: str) -> str:
    """RFC 6750, section 3: without a token no error is told."""
    if denial.challenge == "ApiKey":
        return denial.challenge
    realm = f'Bearer realm="{host}"' if _HOST.fullmatch(host) else 'Bearer realm="api"'
    if denial.challenge == "missing":
        return realm
    return f'{realm}, error="{denial.challenge}", error_description="{denial.message}"'
