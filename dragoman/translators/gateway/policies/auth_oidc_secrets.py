"""The secrets of logins: the client's, and the one that seals cookies (for SDS).

The secret that seals cookies is derived from the client's, unless the policy names one. So every replica has
the same, before and after a restart, nobody has to keep it, and a new client secret ends all sessions. The
policy's name goes in: cookies of one policy open nothing under another. Called by `auth_oidc` and the wiring.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from typing import Final

from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway.models import auth_oidc, authpolicy, meta, policy, secret
from dragoman.translators.gateway.policies import issuers

CLIENT, SEAL = "oidc-client", "oidc-cookies"
"""What the two secrets of a policy are used for (`SecretKey.use`)."""

_SHORTEST: Final = 32
"""Bytes of a secret that seals cookies."""

Secrets = Collection[Ref, base.AnyObject]


def said(item: base.AnyObject) -> auth_oidc.Oidc | None:
    """The section of a policy that is not wrong and has it on."""
    return policy.on(item.spec.oidc) if isinstance(item.spec, authpolicy.AuthPolicy) else None


def secrets(graph: Graph, objects: base.Objects) -> Collection[ir.SecretKey, ir.Secret]:
    """The secrets of all policies that have usable ones."""
    held = objects[meta.CORE_GROUP, "Secret"]

    def made(ctx: Context, ref: Ref, item: base.AnyObject) -> Iterator[tuple[ir.SecretKey, ir.Secret]]:
        given = said(item)
        for use in (CLIENT, SEAL) if given is not None else ():
            assert given is not None
            value = read(ctx, held, ref, given, use)
            if isinstance(value, bytes):
                key = ir.SecretKey(ref, use)
                yield key, ir.Secret(key, generic=value, origin=Origin(ref, ("spec", "oidc")))

    return graph.map_many("secrets of logins", objects[meta.DRAGOMAN_GROUP, "AuthPolicy"], made)


def read(ctx: Context, held: Secrets, ref: Ref, given: auth_oidc.Oidc, use: str) -> bytes | issuers.Lack:
    """One of the two secrets of the policy `ref`."""
    if use == SEAL and given.cookie_secret_ref is not None:
        found = _entry(ctx, held, ref, given.cookie_secret_ref, "cookieSecretRef")
        if isinstance(found, bytes) and len(found) < _SHORTEST:
            return issuers.Lack(
                f"the secret of cookies is shorter than {_SHORTEST} bytes", ("cookieSecretRef",)
            )
        return found
    if given.client_secret_ref is None:
        return issuers.Lack("`clientSecretRef` is missing")
    found = _entry(ctx, held, ref, given.client_secret_ref, "clientSecretRef")
    if use == CLIENT or isinstance(found, issuers.Lack):
        return found
    return hmac.new(found, f"dragoman oidc cookies {ref.id}".encode(), hashlib.sha256).digest()


def _entry(
    ctx: Context, held: Secrets, ref: Ref, wanted: auth_oidc.ClientSecret | auth_oidc.CookieSecret, at: str
) -> bytes | issuers.Lack:
    target = Ref(meta.CORE_GROUP, "Secret", ref.namespace, wanted.name)
    item = ctx.fetch(held, target)
    if item is None:
        return issuers.Lack(f"{target} is not there", (at, "name"))
    spec: secret.Secret = item.spec
    value = (spec.value(wanted.key) or b"").rstrip(b"\r\n")
    return value or issuers.Lack(f"{target} has no entry `{wanted.key}`", (at, "key"))
