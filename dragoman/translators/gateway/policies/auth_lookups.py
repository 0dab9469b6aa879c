r"""An AuthPolicy's `introspection` and `redisKeys`: what routes ask, and what the companion is told.

    AuthPolicy + Secret + description of the issuer --> asked (to the companion, with the secret)
                                                    \-> standing (for routes and status, without)
    Consumer (auth_members) --> asked

The sections are said as a whole, so a route that is under one is under one policy, and names it. A new secret
changes what the companion is told and no route. Called by `auth`, `auth_sources` (what must be fetched) and
the wiring.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from dragoman.diagnostics import Diagnostic
from dragoman.graph.collection import Collection, Context, Graph, Source
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway.models import auth_lookups, authpolicy, meta, policy, secret
from dragoman.translators.gateway.policies import auth_members, issuers

_BEARER: Final = (("authorization", "Bearer "),)


@dataclass(frozen=True, slots=True)
class Standing:
    """A policy's introspection: who is asked, or why nobody can be."""

    at: str
    flaw: Diagnostic | None = None


@dataclass(frozen=True, slots=True)
class _Made:
    standing: Standing | None
    asked: tuple[ir.Introspector | ir.KeyReader, ...] = field(repr=False)


Standings = Collection[Ref, Standing]


class Lookups:
    """The collections. `asked`: (kind, policy or namespace and shard) -> what the companion is told."""

    def __init__(self, graph: Graph, objects: base.Objects, found: Source[str, base.Fetched]) -> None:
        self._found = found
        self._secrets = objects[meta.CORE_GROUP, "Secret"]
        made = graph.map_one(
            "lookups of AuthPolicies", objects[meta.DRAGOMAN_GROUP, "AuthPolicy"], self._made
        )
        self.standings: Standings = graph.map_one("lookups that stand", made, lambda _, __, one: one.standing)
        policies: Collection[tuple[str, str], ir.Asked] = graph.map_many(
            "lookups asked",
            made,
            lambda _, __, one: [((type(each).__name__, each.policy), each) for each in one.asked],
        )
        self.asked: Collection[tuple[str, str], ir.Asked] = graph.union(
            "what the companion is told", policies, auth_members.collection(graph, objects)
        )

    def _made(self, ctx: Context, ref: Ref, item: base.AnyObject) -> _Made | None:
        spec = item.spec
        if not isinstance(spec, authpolicy.AuthPolicy):
            return None
        asked: list[ir.Introspector | ir.KeyReader] = []
        standing: Standing | None = None
        tokens, keys = policy.on(spec.introspection), policy.on(spec.redis_keys)
        if tokens is not None:
            endpoint = self._endpoint(ctx, tokens)
            client_secret = self._secret(ctx, ref, tokens)
            lack = next((one for one in (endpoint, client_secret) if isinstance(one, issuers.Lack)), None)
            at = tokens.issuer or tokens.endpoint or ""
            standing = Standing(at, _flaw(ref, lack) if lack is not None else None)
            if not isinstance(endpoint, issuers.Lack) and not isinstance(client_secret, issuers.Lack):
                standing = Standing(endpoint)
                asked.append(_introspector(ref, tokens, endpoint, client_secret))
        if keys is not None:
            asked.append(_reader(ref, keys))
        return _Made(standing, tuple(asked)) if asked or standing is not None else None

    def _endpoint(self, ctx: Context, given: auth_lookups.Introspection) -> str | issuers.Lack:
        if given.endpoint is not None:
            return given.endpoint
        assert given.issuer is not None  # rules_auth_lookups
        return _answers_at(ctx.fetch(self._found, issuers.description(given.issuer)), given.issuer)

    def _secret(self, ctx: Context, ref: Ref, given: auth_lookups.Introspection) -> str | issuers.Lack:
        wanted = given.client_secret_ref
        assert wanted is not None  # rules_auth_lookups
        target = Ref(meta.CORE_GROUP, "Secret", ref.namespace, wanted.name)
        item = ctx.fetch(self._secrets, target)
        if item is None:
            return issuers.Lack(f"{target} is not there", ("clientSecretRef",))
        held: secret.Secret = item.spec
        text = (held.value(wanted.key) or b"").decode(errors="replace").strip("\r\n")
        return text or issuers.Lack(f"{target} has no entry `{wanted.key}`", ("clientSecretRef",))


def urls(item: base.AnyObject) -> Iterator[str]:
    """What must be fetched for an AuthPolicy: the issuer's description, where no endpoint is said."""
    said = policy.on(item.spec.introspection) if isinstance(item.spec, authpolicy.AuthPolicy) else None
    if said is not None and said.endpoint is None and said.issuer is not None:
        yield issuers.description(said.issuer)


def refers(item: object) -> bool:
    """Whether a policy refers to a Secret, or to an issuer's description."""
    return isinstance(item, authpolicy.AuthPolicy) and policy.on(item.introspection) is not None


def introspection(
    given: auth_lookups.Introspection, sayer: Ref, standing: Standing | None
) -> ir.Introspection | None:
    """What a section, said by `sayer`, asks of requests; None where nobody can be asked."""
    if standing is None or standing.flaw is not None:
        return None
    headers = tuple(dict.fromkeys(one.header.lower() for one in given.claims_to_headers))
    known: ir.Lookup | None = None
    if given.consumer_claim is not None:
        known = ir.Lookup(sayer.namespace, ir.Proof("token", given.consumer_claim))
    return ir.Introspection(
        _name(sayer),
        standing.at,
        headers,
        given.optional,
        given.failure == "Open",
        known,
        _token_places(given),
        given.forward,
    )


def redis_keys(given: auth_lookups.RedisKeys, sayer: Ref) -> ir.RedisKeys:
    """What a section, said by `sayer`, asks of requests."""
    return ir.RedisKeys(_name(sayer), given.failure == "Open", given.optional, _key_places(given))


def _name(ref: Ref) -> str:
    return f"{ref.namespace}/{ref.name}"


def _answers_at(fetched: base.Fetched | None, issuer: str) -> str | issuers.Lack:
    """What an issuer's description says of where it answers (RFC 8414)."""
    said = issuers.described(fetched, issuer)
    if isinstance(said, issuers.Lack):
        return said
    where, endpoint = issuers.description(issuer), said.get("introspection_endpoint")
    if not isinstance(endpoint, str) or not endpoint.startswith(("https://", "http://")):
        return issuers.Lack(f"{where} names no introspection_endpoint", ("issuer",))
    if issuer.startswith("https://") and not endpoint.startswith("https://"):
        return issuers.Lack(f"{where} names an introspection_endpoint without TLS", ("issuer",))
    return endpoint


def _flaw(ref: Ref, lack: issuers.Lack) -> Diagnostic:
    origin = Origin(ref, ("spec", "introspection", *lack.at))
    return issuers.flaw("DRG1861", "nobody can be asked about tokens", lack, origin)


def _introspector(
    ref: Ref, given: auth_lookups.Introspection, endpoint: str, client_secret: str
) -> ir.Introspector:
    return ir.Introspector(
        policy=_name(ref),
        endpoint=endpoint,
        client_id=given.client_id or "",
        client_secret=client_secret,
        places=_token_places(given),
        post=given.client_auth == "Post",
        issuer=given.issuer or "",
        audiences=given.audiences,
        claims=tuple((one.header.lower(), one.claim) for one in given.claims_to_headers),
        ttl=given.remember.active,
        negative=given.remember.inactive,
        timeout=given.timeout,
        fail_open=given.failure == "Open",
    )


def _reader(ref: Ref, given: auth_lookups.RedisKeys) -> ir.KeyReader:
    return ir.KeyReader(
        policy=_name(ref),
        namespace=ref.namespace,
        places=_key_places(given),
        consumers=given.consumers,
        groups=given.groups,
        fail_open=given.failure == "Open",
    )


def _token_places(given: auth_lookups.Introspection) -> ir.Places:
    headers = [(one.name.lower(), one.prefix) for one in given.from_.headers]
    places = ir.Places(_bearer(headers), given.from_.query_params, given.from_.cookies)
    return places if places != ir.Places() else ir.Places(_BEARER)


def _key_places(given: auth_lookups.RedisKeys) -> ir.Places:
    headers = [(one.lower(), "") for one in given.headers or ()]
    places = ir.Places(_bearer(headers), given.query_params or (), given.cookies or ())
    return places if places != ir.Places() else ir.Places((("x-api-key", ""),))


def _bearer(headers: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """`Authorization` without a prefix has its credential bare or after `Bearer `."""
    found: list[tuple[str, str]] = []
    for one in headers:
        found += [*_BEARER, one] if one == ("authorization", "") else [one]
    return tuple(found)
