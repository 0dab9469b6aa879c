"""The public keys of token issuers (JWKS, RFC 7517): from text to what may be used of it.

Only public keys for signatures are taken: symmetric ones would let whoever knows the public document sign
tokens, and the private members of a key have no business in a proxy. Pure; called by `auth`.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "RSA": ("n", "e"),
    "EC": ("crv", "x", "y"),
    "OKP": ("crv", "x"),
}
"""What a public key of each type has (RFC 7518, section 6; RFC 8037)."""

_SIGNS: Final[Mapping[str, tuple[str, ...]]] = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "P-256": ("ES256",),
    "P-384": ("ES384",),
    "P-521": ("ES512",),
    "Ed25519": ("EdDSA",),
}
"""The algorithms of each type of key, or curve."""

_LEAST_BITS: Final = 1024


@functools.lru_cache(maxsize=1024)
def usable(text: str, algorithms: tuple[str, ...] = ()) -> str:
    """The usable keys of `text` as canonical JSON, each for one of `algorithms` where these are said.

    Raises ValueError, with the reason, where there is none.
    """
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    keys = given.get("keys") if isinstance(given, dict) else None
    if not isinstance(keys, list):
        raise ValueError("it has no list `keys`")
    found = [made for key in keys if isinstance(key, dict) for made in _public(key, algorithms)]
    if not found:
        raise ValueError(
            "it holds no public key that can check a signature"
            if not algorithms
            else (f"it holds no public key for {', '.join(algorithms)}")
        )
    return json.dumps({"keys": found}, sort_keys=True, separators=(",", ":"))


def _public(key: Mapping[str, Any], algorithms: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The public half of a key, once for each algorithm where these are said (a key without `alg` takes all
    of its type)."""
    kind = str(key.get("kty"))
    if kind not in _MEMBERS or key.get("use", "sig") != "sig":
        return
    parts = {name: key.get(name) for name in _MEMBERS[kind]}
    if not all(isinstance(part, str) and part for part in parts.values()):
        return
    curve = kind if kind == "RSA" else str(parts["crv"])
    known = _SIGNS.get(curve, ())
    if not known or not all(_decodes(str(part)) for name, part in parts.items() if name != "crv"):
        return
    if kind == "RSA" and _bits(str(parts["n"])) < _LEAST_BITS:
        return
    own = key.get("alg")
    if own is not None and own not in known:
        return
    made: dict[str, Any] = {"kty": kind, **parts}
    made |= {name: key[name] for name in ("kid",) if isinstance(key.get(name), str)}
    if not algorithms:
        yield made if own is None else {**made, "alg": own}
        return
    for algorithm in algorithms:
        if algorithm in known and own in (None, algorithm):
            yield {**made, "alg": algorithm}


def _decodes(text: str) -> bool:
    try:
        base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return False
    return True


def _bits(modulus: str) -> int:
    raw = base64.urlsafe_b64decode(modulus + "=" * (-len(modulus) % 4))
    return int.from_bytes(raw).bit_length()
