"""Resources as plain data for people: `snapshot show`, the console, golden files.

Every extension is opened (`@type`). Of secrets only fingerprints are left, wherever they stand.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Final

from dragoman import proto, resource

_SECRET: Final = frozenset(
    ("private_key", "password", "pkcs12", "session_ticket_keys", "generic_secret", "private_key_provider")
)
_CERTIFICATES: Final = frozenset(("certificate_chain", "trusted_ca", "crl", "ocsp_staple"))


def to_dict(item: resource.Resource) -> dict[str, Any]:
    """The resource as JSON data, field names as in Envoy's documentation, keys redacted."""
    message = proto.message(item.type_url).FromString(item.payload)
    shown: dict[str, Any] = _safe(proto.to_dict(message))
    return shown


def _safe(value: Any) -> Any:
    if isinstance(value, list):
        return [_safe(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {key: _shown(key, each) for key, each in value.items()}


def _shown(key: str, value: Any) -> Any:
    if key in _SECRET:
        return "[redacted]"
    if key in _CERTIFICATES and isinstance(value, dict):
        return {field: _fingerprint(field, text) for field, text in value.items()}
    return _safe(value)


def _fingerprint(field: str, text: Any) -> Any:
    """Certificates are public, but long: which one it is says enough."""
    if field == "inline_bytes":
        return f"sha256:{hashlib.sha256(base64.b64decode(text)).hexdigest()}"
    if field == "inline_string":
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    return text
