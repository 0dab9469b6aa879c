"""Texts with Envoy's format operators, as policies have them: what is wrong with one.

Only operators are let through that concern the request, the response or the connection and that Envoy's
constructors take (each was seen there); those that read the proxy's files or environment are not. A single
`%` would make Envoy refuse the whole resource.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterator
from typing import Any, Final

PLAIN: Final = frozenset(
    (
        *("PROTOCOL", "RESPONSE_CODE", "RESPONSE_CODE_DETAILS", "RESPONSE_FLAGS", "RESPONSE_FLAGS_LONG"),
        *("BYTES_RECEIVED", "BYTES_SENT", "DURATION", "CONNECTION_ID", "STREAM_ID", "TRACE_ID"),
        *("ROUTE_NAME", "HOSTNAME", "START_TIME", "LOCAL_REPLY_BODY", "REQUESTED_SERVER_NAME"),
        *("UPSTREAM_HOST", "UPSTREAM_CLUSTER", "UPSTREAM_REQUEST_ATTEMPT_COUNT"),
        *("UPSTREAM_REMOTE_ADDRESS", "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "UPSTREAM_REMOTE_PORT"),
        *("DOWNSTREAM_REMOTE_ADDRESS", "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_REMOTE_PORT"),
        *("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT"),
        *("DOWNSTREAM_LOCAL_ADDRESS", "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_LOCAL_PORT"),
        *("DOWNSTREAM_PEER_URI_SAN", "DOWNSTREAM_PEER_DNS_SAN", "DOWNSTREAM_PEER_SUBJECT"),
        *("DOWNSTREAM_PEER_ISSUER", "DOWNSTREAM_PEER_SERIAL", "DOWNSTREAM_PEER_FINGERPRINT_256"),
        *("DOWNSTREAM_PEER_FINGERPRINT_1", "DOWNSTREAM_TLS_VERSION", "DOWNSTREAM_TLS_CIPHER"),
        *("DOWNSTREAM_TLS_SESSION_ID", "DOWNSTREAM_LOCAL_URI_SAN"),
    )
)
"""Operators without an argument."""

_HEADER: Final = r":?[A-Za-z0-9\-_]{1,64}"
_KEYS: Final = r"[A-Za-z0-9_.\-]{1,64}"
ARGUMENTS: Final = {
    "REQ": (re.compile(rf"{_HEADER}(\?{_HEADER})?"), "(x-id)"),
    "RESP": (re.compile(rf"{_HEADER}(\?{_HEADER})?"), "(x-id)"),
    "DYNAMIC_METADATA": (re.compile(rf"{_KEYS}(:{_KEYS}){{0,8}}"), "(envoy.filters.http.jwt_authn:claims)"),
    "START_TIME": (re.compile(r"(%[YmdHMSFTsj]|%[369]f|[-/:., TZ])+"), "(%Y-%m-%d)"),
}
"""Operators with an argument: what it must look like, and an example."""
_CUTTABLE: Final = frozenset(("REQ", "RESP", "DYNAMIC_METADATA"))
_TOKEN: Final = re.compile(
    r"(?P<text>[^%]+)|(?P<literal>%%)"
    r"|%(?P<name>[A-Z][A-Z0-9_]*)(?:\((?P<argument>(?:[^()%]|%[0-9A-Za-z])*)\))?(?::(?P<cut>[0-9]{1,5}))?%"
    r"|(?P<stray>%)"
)


@functools.lru_cache(maxsize=4096)
def flaw(text: str, response: bool = True) -> tuple[str, str]:
    """Why `text` cannot be a template, and what to do; "" where it can. Not `response`: there is none yet."""
    for found in _TOKEN.finditer(text):
        if found["stray"]:
            return f"`{text[found.start() : found.start() + 24]}` starts no operator", "write `%%` for a `%`"
        if found["name"]:
            wrong = _operator(found["name"], found["argument"], found["cut"], response)
            if wrong[0]:
                return wrong
    return "", ""


def _operator(name: str, argument: str | None, cut: str | None, response: bool) -> tuple[str, str]:
    known = name in PLAIN or name in ARGUMENTS
    if not known:
        near = difflib.get_close_matches(name, (*PLAIN, *ARGUMENTS), 1, 0.6)
        return f"`%{name}%` is no known operator", f"did you mean `{near[0]}`?" if near else ""
    if name == "RESP" and not response:
        return "there is no response yet", "`%REQ(...)%` is a header of the request"
    if argument is None:
        if name not in PLAIN:
            return f"`{name}` needs an argument", f"write `%{name}{ARGUMENTS[name][1]}%`"
    elif name not in ARGUMENTS:
        return f"`{name}` takes no argument", f"write `%{name}%`"
    elif ARGUMENTS[name][0].fullmatch(argument) is None:
        return f"`({argument})` is no argument of `{name}`", f"write for example `{ARGUMENTS[name][1]}`"
    if cut is not None and (name not in _CUTTABLE or not int(cut)):
        return f"`{name}` cannot be cut to {cut} characters", ""
    return "", ""


def texts(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """The leaves of JSON data, and where they stand. Keys count as texts: Envoy takes them as they are."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from texts(item, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for at, item in enumerate(value):
            yield from texts(item, (*path, at))
    else:
        yield path, value
