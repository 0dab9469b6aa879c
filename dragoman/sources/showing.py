"""What may be shown of an object as it was written: all but what Secrets hold, and private keys.

A Secret keeps the fields that are open; of key sets (JWKS) that an AuthPolicy has inline the public parts
stay. What kubectl remembers of an object (`APPLIED`) is the object once more. Called by the command line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from dragoman.sources import locate

REDACTED: Final = "[redacted]"

_DATA: Final = frozenset(("data", "stringData"))
"""What only Secrets and ConfigMaps have: elsewhere the kind is misspelt."""
_PRIVATE: Final = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))
"""Members of a key that nobody else should know (RFC 7518, section 6)."""


def shown(body: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the object that people may see."""
    made: Any = dict(body)
    kind = str(body.get("kind"))
    if locate.sounds_secret(kind):
        made = {name: one if name in locate.OPEN_FIELDS else _hidden(one) for name, one in body.items()}
    elif kind != "ConfigMap":
        made = {name: _hidden(one) if name in _DATA else one for name, one in body.items()}
    if kind == "AuthPolicy":
        made = _with(made, ("spec", "jwt", "providers", "jwks", "inline"), _public)
    done: dict[str, Any] = _with(made, locate.APPLIED, lambda _: REDACTED)
    return done


def _hidden(value: Any) -> Any:
    return dict.fromkeys(value, REDACTED) if isinstance(value, dict) else REDACTED


def _with(value: Any, path: tuple[Any, ...], change: Any) -> Any:
    """`value` with `change` where `path` leads, also through the items of lists."""
    if not path:
        return change(value)
    if isinstance(value, list):
        return [_with(one, path, change) for one in value]
    if isinstance(value, dict) and path[0] in value:
        return value | {path[0]: _with(value[path[0]], path[1:], change)}
    return value


def _public(text: Any) -> Any:
    try:
        return json.dumps(_without(json.loads(text)))
    except (TypeError, ValueError, RecursionError):
        return REDACTED


def _without(value: Any) -> Any:
    if isinstance(value, list):
        return [_without(one) for one in value]
    if isinstance(value, dict):
        return {name: REDACTED if name in _PRIVATE else _without(one) for name, one in value.items()}
    return value
