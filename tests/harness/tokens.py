"""Issuers of tokens (JWT, RFC 7519) for tests: keys, JWKS, good tokens and bad ones."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import time
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa


def encoded(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def public(key: Any, kid: str) -> dict[str, Any]:
    """A public key as JWK."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        numbers = key.public_numbers()
        x, y = (encoded(part.to_bytes(32)) for part in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid}
    numbers = key.public_numbers()
    size = (numbers.n.bit_length() + 7) // 8
    return {
        "kty": "RSA",
        "n": encoded(numbers.n.to_bytes(size)),
        "e": encoded(numbers.e.to_bytes(3)),
        "kid": kid,
    }


class Issuer:
    """Signs tokens with RS256."""

    def __init__(self, name: str, kid: str = "one") -> None:
        self.name = name
        self.kid = kid

    @functools.cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        """Made at first use: most who import an issuer have no use for it."""
        return rsa.generate_private_key(65537, 2048)

    @property
    def jwks(self) -> str:
        return json.dumps({"keys": [public(self._key.public_key(), self.kid) | {"alg": "RS256"}]})

    @property
    def pem(self) -> bytes:
        """The public key as people publish it: what an attacker signs with in HS256."""
        return self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def token(self, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """Good for a minute unless `claims` (None leaves one out) or `header` say otherwise."""
        said = {"iss": self.name, "sub": "alice", "exp": int(time.time()) + 60} | claims
        head = {"alg": "RS256", "typ": "JWT", "kid": self.kid} | (header or {})
        body = {name: value for name, value in said.items() if value is not None}
        text = ".".join(encoded(json.dumps(part).encode()) for part in (head, body))
        match head["alg"]:
            case "none":
                signature = b""
            case "HS256":
                signature = hmac.new(self.pem, text.encode(), hashlib.sha256).digest()
            case _:
                signature = self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{encoded(signature)}"
