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
_KEYS: Final = "credentials"
"""API keys, and whose they are."""
_USERS: Final = "users"
"""Names, and hashes of passwords."""
_MAPS: Final = frozenset(
    (
        "typed_per_filter_config",
        "typed_extension_protocol_options",
        "typed_filter_metadata",
        "bucket_id_builder",
        "context_extensions",
        "policies",
        "map",
    )
)
_FREE: Final = frozenset(("json_format", "filter_metadata", "filter_context"))
"""Fields that are maps, or free JSON: a message that was read has no order in them."""
_CERTIFICATES: Final = frozenset(("certificate_chain", "trusted_ca", "crl", "ocsp_staple"))


def to_dict(item: resource.Resource) -> dict[str, Any]:
    """The resource as JSON data, field names as in Envoy's documentation, keys redacted."""
    kind = resource.LISTENER if item.type_url == resource.WHOLE else item.type_url
    message = proto.message(kind).FromString(item.payload)
    shown: dict[str, Any] = _safe(proto.to_dict(message))
    return shown


def _safe(value: Any) -> Any:
    if isinstance(value, list):
        return [_safe(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {key: _shown(key, value[key]) for key in (sorted(value) if _is_map(value) else value)}


def _is_map(value: dict[str, Any]) -> bool:
    """Whether its keys are data: protobuf's maps come in any order. Extensions by name are the maps that we
    write, and no field has a dot in its name."""
    return any("." in key for key in value)


def _shown(key: str, value: Any) -> Any:
    if key == _KEYS and isinstance(value, list):
        return [each | {"key": "[redacted]"} for each in value]
    if key in _SECRET:
        return "[redacted]"
    if key == _USERS and isinstance(value, dict) and "inline_string" in value:
        return {"inline_string": "[redacted]"}
    if key in _CERTIFICATES and isinstance(value, dict):
        return {field: _fingerprint(field, text) for field, text in value.items()}
    if key in _MAPS and isinstance(value, dict):
        return dict(sorted(_safe(value).items()))
    return _sorted(_safe(value)) if key in _FREE else _safe(value)


def _sorted(value: Any) -> Any:
    if isinstance(value, list):
        return [_sorted(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {key: _sorted(each) for key, each in sorted(value.items())}


def _fingerprint(field: str, text: Any) -> Any:
    """Certificates are public, but long: which one it is says enough."""
    if field == "inline_bytes":
        return f"sha256:{hashlib.sha256(base64.b64decode(text)).hexdigest()}"
    if field == "inline_string":
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    return text
