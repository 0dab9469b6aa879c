"""An AuthPolicy's `basic`: users from Secrets, in the format of `htpasswd`.

Envoy knows one kind of hash, SHA-1 without salt. Others are refused by name, and their users left out: better
one who cannot come in than a resource that Envoy rejects. Neither passwords nor hashes stand in a diagnostic.
Called by `auth_sources` (users of a policy) and `auth` (what a route asks).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from dragoman.diagnostics import Diagnostic, error
from dragoman.graph.collection import Collection, Context
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway.models import auth_basic, authpolicy, meta, policy, secret

MOST: Final = 1000
"""Users of one policy: they stand in every route that it is for."""

_NAME: Final = re.compile(r"[!-9;-~]{1,255}")
_SHA: Final = "{SHA}"
_DIGEST: Final = 20
_KINDS: Final = (
    ("$2", "bcrypt"),
    ("$apr1$", "MD5 (apr1)"),
    ("$1$", "MD5"),
    ("$5$", "SHA-256 crypt"),
    ("$6$", "SHA-512 crypt"),
    ("$y$", "yescrypt"),
    ("$argon2", "Argon2"),
    ("{SSHA", "salted SHA"),
    ("{", "a scheme of its own"),
)


@dataclass(frozen=True, slots=True)
class Users:
    """The users of one policy: (name, SHA-1 of the password), sorted."""

    entries: tuple[tuple[str, bytes], ...] = field(repr=False)


def said(item: base.AnyObject) -> auth_basic.Basic | None:
    """The section of a policy that is not wrong and has it on."""
    return policy.on(item.spec.basic) if isinstance(item.spec, authpolicy.AuthPolicy) else None


def users(
    ctx: Context, secrets: Collection[Ref, base.AnyObject], ref: Ref, item: base.AnyObject
) -> tuple[Users | None, tuple[Diagnostic, ...]]:
    """The users of a policy, and what is wrong with some of them; None where a Secret is not there."""
    given = said(item)
    if given is None:
        return None, ()
    found: dict[str, bytes] = {}
    flaws: list[Diagnostic] = []
    complete = True
    for at, wanted in enumerate(given.secret_refs or ()):
        origin = Origin(ref, ("spec", "basic", "secretRefs", at))
        target = Ref(meta.CORE_GROUP, "Secret", ref.namespace, wanted.name)
        held = ctx.fetch(secrets, target)
        text = _text(held.spec, wanted.key) if held is not None else None
        if text is None:
            what = f"entry `{wanted.key}` of {target}" if held is not None else str(target)
            label = "requests under the policy are answered 500"
            flaws.append(error("DRG1852", f"{what} is not there", origin, label=label))
            complete = False
            continue
        for number, line in enumerate(text.splitlines(), 1):
            where = f"line {number} of `{wanted.key}` in {target}"
            entry = _entry(line, where)
            match entry:
                case None:
                    continue
                case str():
                    flaws.append(error("DRG1851", entry, origin, label="nobody passes as that user"))
                case (name, hashed):
                    if found.setdefault(name, hashed) != hashed:
                        why = f"{where}: user `{name}` has another password already"
                        flaws.append(error("DRG1851", why, origin, label="the first one holds"))
    missing = [name for name in given.users or () if name not in found]
    for name in missing if complete else ():
        origin = Origin(ref, ("spec", "basic", "users", (given.users or ()).index(name)))
        flaws.append(
            error("DRG1851", f"there is no user `{name}`", origin, label="nobody passes as that user")
        )
    chosen = sorted(
        found.items() if given.users is None else ((n, found[n]) for n in given.users if n in found)
    )
    if len(chosen) > MOST:
        origin = Origin(ref, ("spec", "basic", "secretRefs"))
        why = f"{len(chosen)} users are more than {MOST}"
        label = f"the first {MOST} by name can come in"
        flaws.append(
            error("DRG1851", why, origin, label=label, help="use API keys, which come in any number")
        )
        chosen = chosen[:MOST]
    return (Users(tuple(chosen)) if complete else None), tuple(flaws)


def asked(given: auth_basic.Basic, held: Users, namespace: str) -> ir.Basic:
    """What a section, said by a policy of `namespace`, asks of requests."""
    return ir.Basic(
        held.entries,
        given.realm,
        given.user_header.lower(),
        given.forward_credentials,
        given.optional,
        ir.Lookup(namespace, ir.Proof("user")) if given.consumers else None,
    )


def _text(spec: secret.Secret, key: str) -> str | None:
    value = spec.value(key)
    return value.decode(errors="replace") if value is not None else None


def _entry(line: str, where: str) -> tuple[str, bytes] | str | None:
    """(name, hash); None for a line that says nothing; or what is wrong with it."""
    line = line.strip()
    if not line or line.startswith("#"):
        return None
    name, colon, hashed = line.partition(":")
    if not colon or not _NAME.fullmatch(name):
        return f"{where} is not of the form `name:{_SHA}...`"
    if not hashed.startswith(_SHA):
        kind = next((kind for start, kind in _KINDS if hashed.startswith(start)), "something else than SHA-1")
        return f"{where}: the password of `{name}` is hashed with {kind}, and Envoy knows SHA-1 alone"
    try:
        digest = base64.b64decode(hashed.removeprefix(_SHA), validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != _DIGEST:
        return f"{where}: the hash of `{name}` is no SHA-1"
    return name, digest


def findings(where: Origin, given: auth_basic.Basic) -> Iterator[Diagnostic]:
    """What is wrong with the section itself. Called by `rules_auth`."""
    if not given.disabled and given.secret_refs is None:
        yield error("DRG1102", "`secretRefs` is missing", where, label="who may pass goes here")
    if given.user_header.lower() in (
        "authorization",
        "host",
        "cookie",
        "content-length",
        "transfer-encoding",
    ):
        yield error("DRG1108", f"`{given.user_header}` is taken", where.at("userHeader"))
