"""Rules of AuthPolicies about tokens and keys that are looked up. Called by `rules_auth`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dragoman.diagnostics import Diagnostic, error
from dragoman.refs import Origin
from dragoman.translators.gateway import rules_auth_more
from dragoman.translators.gateway.models import auth_lookups, authpolicy

_DAY: Final = 86_400
_TAKEN: Final = frozenset(
    {"authorization", "connection", "content-length", "content-type", "cookie", "host", "transfer-encoding"}
)
"""Headers that mean something else, and that would be dropped from every request."""


def check(where: Origin, spec: authpolicy.AuthPolicy) -> Iterator[Diagnostic]:
    """What is wrong with `introspection` and `redisKeys`; `where` is the spec."""
    if spec.introspection is not None and not spec.introspection.disabled:
        yield from _introspection(where.at("introspection"), spec.introspection)
    keys, others = spec.redis_keys, spec.api_keys
    if keys is not None and not keys.disabled and others is not None and not others.disabled:
        message = "keys are looked up in Redis or known by Consumers and Secrets, not both"
        yield error("DRG1108", message, where.at("redisKeys"))


def _introspection(where: Origin, given: auth_lookups.Introspection) -> Iterator[Diagnostic]:
    if given.endpoint is None and given.issuer is None:
        yield error("DRG1102", "`endpoint` is missing", where, label="it, or an `issuer` that says where")
    if given.endpoint is None and given.issuer and not given.issuer.startswith(("https://", "http://")):
        message = f"the issuer `{given.issuer}` is no URL, so nobody can be asked where it answers"
        yield error("DRG1108", message, where.at("issuer"), help="say `endpoint`")
    if given.consumer_claim is not None and given.issuer is None:
        message = "`issuer` is missing: Consumers are known by a claim and who says it"
        yield error("DRG1102", message, where.at("consumerClaim"), label="means nothing without an issuer")
    if given.client_id is None:
        yield error("DRG1102", "`clientID` is missing", where, label="issuers answer to those they know")
    if given.client_secret_ref is None:
        yield error("DRG1102", "`clientSecretRef` is missing", where, label="the Secret goes here")
    for name, path, value, least, most, said in (
        ("timeout", ("timeout",), given.timeout, 0.01, 10, "10ms to 10s"),
        ("active", ("remember", "active"), given.remember.active, 0, _DAY, "0s to 24h"),
        ("inactive", ("remember", "inactive"), given.remember.inactive, 0, 3600, "0s to 1h"),
    ):
        if not least <= value <= most:
            yield error("DRG1104", f"`{name}` is out of range", where.at(*path), label=f"expected {said}")
    seen: set[str] = set()
    for at, one in enumerate(given.claims_to_headers):
        here, header = where.at("claimsToHeaders", at, "header"), one.header.lower()
        if header in _TAKEN:
            yield error("DRG1108", f"the header `{header}` means something else", here)
        yield from rules_auth_more.told(here, header)
        if header in seen:
            yield error("DRG1108", f"the header `{header}` is listed twice", here)
        seen.add(header)
