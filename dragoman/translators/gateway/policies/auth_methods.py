"""Which credentials a request needs where that is not simply all of them: `combine` and `exclude` of
AuthPolicies. Called by `auth`.

Each credential becomes optional then, so that its filter refuses wrong ones only; what is needed all the same
is said once for all (`ir.Needs`).
"""

from __future__ import annotations

from dataclasses import replace

from dragoman.ir import model as ir
from dragoman.translators.gateway.models import authpolicy, policy


def strict(spec: authpolicy.AuthPolicy) -> tuple[str, ...]:
    """The sections, if there are any, beside which every credential is needed, of every request."""
    if policy.on(spec.oidc) is not None:
        return ("oidc",)
    if policy.on(spec.introspection) is not None and policy.on(spec.jwt) is not None:
        return ("introspection", "jwt")
    return ()


def relaxed(auth: ir.Auth, exempt: tuple[ir.AuthRule, ...], *, any_of: bool) -> ir.Auth:
    """`auth` where requests that meet one of `exempt` need nothing, and others any one of several. As it is
    where something is strict: a login has browsers pass on to `jwt`, and what was looked up of a token
    stands where a checked one's claims do, so of the two none must be optional then."""
    methods = (
        ("token", auth.jwt),
        ("user", auth.basic),
        ("key", auth.keys),
        ("certificate", auth.certificate),
        ("introspected", auth.introspection),
        ("redis", auth.redis_keys),
    )
    optional = {kind: one.optional for kind, one in methods if one is not None}
    any_of = any_of and len(optional) > 1
    both = auth.introspection is not None and auth.jwt is not None
    if not (any_of or exempt) or auth.login is not None or both:
        return auth
    kinds = tuple(kind for kind in optional if not optional[kind])
    if any_of and len(kinds) < len(optional):
        kinds = ()  # nothing is one of them
    return replace(
        auth,
        jwt=replace(auth.jwt, optional=True) if auth.jwt is not None else None,
        basic=replace(auth.basic, optional=True) if auth.basic is not None else None,
        keys=replace(auth.keys, optional=True) if auth.keys is not None else None,
        certificate=replace(auth.certificate, optional=True) if auth.certificate is not None else None,
        introspection=replace(auth.introspection, optional=True) if auth.introspection is not None else None,
        redis_keys=replace(auth.redis_keys, optional=True) if auth.redis_keys is not None else None,
        needs=ir.Needs(kinds, any_of, exempt) if kinds else None,
    )
