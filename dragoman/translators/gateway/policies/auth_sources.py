"""Where AuthPolicies get the keys of their issuers from: written down, from ConfigMaps and Secrets, by URL.

What must be fetched is a source, never part of a transform: `wanted` says which URLs, the runtime fetches
them and puts the answers into `found`. An issuer that says nothing of its keys is asked where they are
(OpenID Connect Discovery 1.0, section 4); that answer names a further URL.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dragoman.diagnostics import Diagnostic
from dragoman.graph.collection import Collection, Context, Graph, Source
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway.models import auth_jwt, authpolicy, configmap, meta, secret
from dragoman.translators.gateway.policies import (
    auth_basic,
    auth_clients,
    auth_keys,
    auth_lookups,
    auth_oidc,
    issuers,
)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one policy's issuers, by the provider's name; or why there are none. `astray`: what is
    wrong with its Secrets of API keys and users, its introspection and its login; `login`: the one it offers,
    if it can; `users`: those that come with passwords, if they can be read."""

    by_name: dict[str, str]
    flaws: tuple[Diagnostic, ...]
    astray: tuple[Diagnostic, ...] = ()
    login: ir.Login | None = None
    users: auth_basic.Users | None = None


AllKeys = Collection[Ref, Keys]


class Sources:
    """The collections: what is to be fetched, and each policy's keys."""

    def __init__(self, graph: Graph, objects: base.Objects) -> None:
        self._configmaps = objects[meta.CORE_GROUP, "ConfigMap"]
        self._secrets = objects[meta.CORE_GROUP, "Secret"]
        policies: Collection[Ref, base.AnyObject] = objects[meta.DRAGOMAN_GROUP, "AuthPolicy"]
        self.found: Source[str, base.Fetched] = graph.source("fetched")
        self.lookups = auth_lookups.Lookups(graph, objects, self.found)
        urls = graph.map_many("URLs of AuthPolicies", policies, self._urls)
        self.wanted: Collection[str, bool] = graph.named("URLs to fetch", (urls, lambda key, _: (key[1],)))
        self.keys: AllKeys = graph.map_one("keys of AuthPolicies", policies, self._keys)

    def _urls(self, ctx: Context, ref: Ref, item: base.AnyObject) -> Iterator[tuple[tuple[Ref, str], bool]]:
        issuer = auth_oidc.url(item)
        if issuer is not None:
            yield (ref, issuer), True
        for url in auth_lookups.urls(item):
            yield (ref, url), True
        for provider in providers(item):
            first = _first_url(provider)
            if first is None:
                continue
            yield (ref, first), True
            if provider.jwks.uri is None:
                second = _jwks_uri(ctx.fetch(self.found, first), provider.issuer)
                if not isinstance(second, issuers.Lack):
                    yield (ref, second), True

    def _keys(self, ctx: Context, ref: Ref, item: base.AnyObject) -> Keys:
        found: dict[str, str] = {}
        flaws: list[Diagnostic] = []
        for at, provider in enumerate(providers(item)):
            origin = Origin(ref, ("spec", "jwt", "providers", at, "jwks"))
            text = self._text(ctx, ref, provider)
            if not isinstance(text, issuers.Lack):
                try:
                    found[provider.name] = auth_keys.usable(text, provider.algorithms)
                    continue
                except ValueError as failure:
                    text = issuers.Lack(str(failure))
            flaws.append(_flaw(provider, text, origin))
        login, astray = auth_oidc.login(ctx, self._secrets, self.found, ref, item)
        users, without = auth_basic.users(ctx, self._secrets, ref, item)
        astray = (*auth_clients.astray(ctx, self._secrets, ref, item), *without, *astray)
        standing = ctx.fetch(self.lookups.standings, ref)
        if standing is not None and standing.flaw is not None:
            astray = (*astray, standing.flaw)
        return Keys(found, tuple(flaws), astray, login, users)

    def _text(self, ctx: Context, ref: Ref, provider: auth_jwt.Provider) -> str | issuers.Lack:
        jwks = provider.jwks
        if jwks.inline is not None:
            return jwks.inline
        if jwks.ref is not None:
            return self._held(ctx, ref, jwks.ref)
        first = _first_url(provider)
        assert first is not None
        url: str | issuers.Lack = (
            first if jwks.uri is not None else _jwks_uri(ctx.fetch(self.found, first), provider.issuer)
        )
        if isinstance(url, issuers.Lack):
            return url
        fetched = ctx.fetch(self.found, url)
        if fetched is None:
            return issuers.Lack(f"{url} was not asked yet", early=True)
        return fetched.body or issuers.Lack(f"{url}: {fetched.error}")

    def _held(self, ctx: Context, ref: Ref, wanted: auth_jwt.KeysReference) -> str | issuers.Lack:
        target = Ref(meta.CORE_GROUP, wanted.kind, ref.namespace, wanted.name)
        item = ctx.fetch(self._secrets if wanted.kind == "Secret" else self._configmaps, target)
        if item is None:
            return issuers.Lack(f"{target} is not there")
        held: secret.Secret | configmap.ConfigMap = item.spec
        if isinstance(held, secret.Secret):
            text = (held.value(wanted.key) or b"").decode(errors="replace")
        else:
            text = held.data.get(wanted.key, "")
        return text or issuers.Lack(f"{target} has no entry `{wanted.key}`")


def _flaw(provider: auth_jwt.Provider, lack: issuers.Lack, origin: Origin) -> Diagnostic:
    return issuers.flaw("DRG1801", f"the keys of {provider.issuer} cannot be used", lack, origin)


def providers(item: base.AnyObject) -> tuple[auth_jwt.Provider, ...]:
    """The issuers that an AuthPolicy names; none of one that is wrong."""
    spec = item.spec
    if not isinstance(spec, authpolicy.AuthPolicy) or spec.jwt is None or spec.jwt.disabled:
        return ()
    return spec.jwt.providers or ()


def _first_url(provider: auth_jwt.Provider) -> str | None:
    jwks = provider.jwks
    if jwks.inline is not None or jwks.ref is not None:
        return None
    return jwks.uri or issuers.description(provider.issuer)


def _jwks_uri(fetched: base.Fetched | None, issuer: str) -> str | issuers.Lack:
    """What an issuer's description says of its keys."""
    said = issuers.described(fetched, issuer)
    if isinstance(said, issuers.Lack):
        return said
    uri = said.get("jwks_uri")
    if not isinstance(uri, str) or not uri.startswith(("https://", "http://")):
        return issuers.Lack(f"{issuers.description(issuer)} names no jwks_uri")
    if issuer.startswith("https://") and not uri.startswith("https://"):
        return issuers.Lack(f"{issuers.description(issuer)} names a jwks_uri without TLS")
    return uri


def with_keys(spec: auth_jwt.Jwt, keys: dict[str, str]) -> tuple[ir.JwtProvider, ...]:
    """The issuers of a merged section, with their keys."""
    return tuple(_provider(one, keys[one.name]) for one in spec.providers or ())


def _provider(given: auth_jwt.Provider, jwks: str) -> ir.JwtProvider:
    return ir.JwtProvider(
        given.issuer,
        given.audiences,
        jwks,
        tuple((one.name, one.prefix) for one in given.from_.headers),
        given.from_.query_params,
        given.from_.cookies,
        round(given.clock_skew),
        given.require_expiration,
        given.forward,
        given.payload_header or "",
        tuple((one.header, one.claim) for one in given.claims_to_headers if one.format == "Text"),
        tuple((one.header, one.claim) for one in given.claims_to_headers if one.format == "List"),
    )
