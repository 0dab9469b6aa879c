"""What issuers say of themselves, as far as it was fetched: one look for keys, logins and introspection.

OpenID Connect Discovery 1.0 (section 4) and RFC 8414 put it at a known place below the issuer's URL. A `Lack`
says in words why there is nothing. Called by `auth_sources`, `auth_oidc` and `auth_lookups`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from dragoman.diagnostics import Diagnostic, Severity
from dragoman.refs import Origin
from dragoman.translators import base

_DISCOVERY: Final = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class Lack:
    """Why there is nothing, and at which field (a path below the section). `early`: nobody has tried to fetch
    it yet, which is no fault."""

    why: str
    at: tuple[str, ...] = ()
    early: bool = False


def description(issuer: str) -> str:
    """The URL of what an issuer says of itself."""
    return f"{issuer.rstrip('/')}{_DISCOVERY}"


def described(fetched: base.Fetched | None, issuer: str) -> dict[str, Any] | Lack:
    """What it says there."""
    where, at = description(issuer), ("issuer",)
    if fetched is None:
        return Lack(f"{where} was not asked yet", at, early=True)
    if not fetched.body:
        return Lack(f"{where}: {fetched.error}", at)
    try:
        said = json.loads(fetched.body)
    except (ValueError, RecursionError):
        return Lack(f"{where} is not JSON", at)
    if not isinstance(said, dict) or said.get("issuer") != issuer:
        return Lack(f"{where} speaks of another issuer", at)
    return said


def flaw(code: str, message: str, lack: Lack, origin: Origin) -> Diagnostic:
    """What a policy without it comes to; `origin` is that of the field."""
    severity = Severity.INFO if lack.early else Severity.ERROR
    label = "requests under the policy are answered 500"
    return Diagnostic(code, f"{message}: {lack.why}", origin.ref, origin.path, severity, label)
