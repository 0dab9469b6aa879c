"""Clients: Consumers, and entries of Secrets that AuthPolicies name, with their API keys.

    Consumer + Secret -------> held (by Consumer) --+--> credentials --> contents (by key set and shard)
    AuthPolicy -> Secrets -> their entries ---------+         |
                                                              v
                                              owners (by the key's hash): more than one is a conflict

Routes name sets; nothing here makes a route depend on a credential. Keys stand in no diagnostic and in no
name of the graph, which has hashes of them. What else Consumers are known by is `auth_subjects`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from dragoman.diagnostics import Diagnostic, error
from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import model as ir, shards
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import status
from dragoman.translators.gateway.models import auth_api_keys, authpolicy, consumer, meta, secret
from dragoman.translators.gateway.policies import auth_subjects

DEFAULT_HEADER: Final = "x-api-key"

_KEY: Final = re.compile(r"[!-~]{1,1024}")
"""What can be a header's value as it is."""


class CredentialId(NamedTuple):
    """A key of a client: the hash stands for it. `at`: which of the Consumer's references it came by."""

    of: ir.KeySet
    client: str
    hash: str
    at: int
    shard: int


@dataclass(frozen=True, slots=True)
class _Credential:
    key: str = field(repr=False)
    client: ir.Client


@dataclass(frozen=True, slots=True)
class _Held:
    """What the references of one Consumer, or one Secret, lead to."""

    credentials: tuple[tuple[CredentialId, _Credential], ...]
    flaws: tuple[Diagnostic, ...]


class Clients:
    """The collections. `keys` has the content of every key set that somebody may name."""

    def __init__(self, graph: Graph, objects: base.Objects) -> None:
        self._secrets = objects[meta.CORE_GROUP, "Secret"]
        consumers: Collection[Ref, base.AnyObject] = objects[meta.DRAGOMAN_GROUP, "Consumer"]
        held = graph.map_one("keys of Consumers", consumers, self._held)
        named: Collection[Ref, bool] = graph.named(
            "Secrets of clients",
            (
                graph.map_many("clients of AuthPolicies", objects[meta.DRAGOMAN_GROUP, "AuthPolicy"], _named),
                lambda key, _: (key[1],),
            ),
        )
        entries = graph.map_one("keys of Secrets", named, self._entries)
        credentials = graph.map_many(
            "credentials", graph.union("holders of keys", held, entries), lambda _, __, one: one.credentials
        )
        self._owners: Collection[str, frozenset[tuple[ir.KeySet, str]]] = graph.group_by(
            "owners of keys",
            credentials,
            lambda key, _: (key.hash,),
            lambda _, __, found: frozenset((one.of, one.client) for one in found),
        )
        keys: Collection[ir.Shard, ir.Content] = graph.group_by(
            "key sets",
            credentials,
            lambda key, _: (ir.Shard(key.of, key.shard),),
            lambda _, __, found: ir.Keys(tuple((found[at].key, found[at].client) for at in sorted(found))),
        )
        subjects = auth_subjects.Subjects(graph, consumers)
        self._subjects = subjects
        self.contents: Collection[ir.Shard, ir.Content] = graph.union(
            "credentials of sets", keys, subjects.contents
        )
        self.findings: Collection[Ref, tuple[Diagnostic, ...]] = graph.map_one(
            "Consumer findings", held, lambda ctx, ref, one: self._findings(ctx, ref, one) or None
        )
        self.statuses: Collection[Ref, base.Status] = graph.map_one(
            "Consumer status", consumers, lambda ctx, _, item: self._status(ctx, item)
        )

    def _held(self, ctx: Context, ref: Ref, item: base.AnyObject) -> _Held:
        spec: consumer.Consumer = item.spec
        of = ir.KeySet(ref.namespace)
        client = ir.Client(ref.name, of, spec.groups, spec.plan or "")
        credentials: list[tuple[CredentialId, _Credential]] = []
        flaws: list[Diagnostic] = []
        for at, wanted in enumerate(spec.api_keys):
            origin = Origin(ref, ("spec", "apiKeys", at))
            found = _keys(ctx.fetch(self._secrets, _secret(ref, wanted.name)), wanted, ref)
            if isinstance(found, str):
                flaws.append(_unusable(found, origin))
                continue
            for name, key in found:
                if _KEY.fullmatch(key) is None:
                    flaws.append(_unusable(_malformed(_secret(ref, wanted.name), name), origin))
                else:
                    known = replace(client, credential=f"{ref.namespace}/{wanted.name}/{name}")
                    credentials.append((_id(of, ref.name, key, at), _Credential(key, known)))
        # A Secret may have one key under two names.
        return _Held(tuple(dict(credentials).items()), tuple(flaws))

    def _entries(self, ctx: Context, ref: Ref, _: bool) -> _Held | None:
        item = ctx.fetch(self._secrets, ref)
        if item is None:
            return None
        of = ir.KeySet(ref.namespace, ref.name)
        return _Held(
            tuple(
                (_id(of, name, key), _Credential(key, _entry(of, name)))
                for name, key in _texts(item.spec)
                if _KEY.fullmatch(key)
            ),
            (),
        )

    def _findings(self, ctx: Context, ref: Ref, held: _Held) -> tuple[Diagnostic, ...]:
        found = list(held.flaws)
        for key, _ in held.credentials:
            owners = ctx.fetch(self._owners, key.hash) or frozenset()
            others = sorted(_named_client(*one) for one in owners if one != (key.of, key.client))
            if others:
                message = f"{', '.join(others)} has the same API key, so it is nobody's"
                origin = Origin(ref, ("spec", "apiKeys", key.at))
                label = "requests with the key are answered 401 where both are known"
                found.append(error("DRG1812", message, origin, label=label, help="give each its own"))
        found += self._subjects.findings(ctx, ref)
        return tuple(dict.fromkeys(found))

    def _status(self, ctx: Context, item: base.AnyObject) -> base.Status:
        findings = ctx.fetch(self.findings, item.ref) or ()
        accepted = base.Condition("Accepted", True, "Accepted", "the Consumer is valid")
        resolved = base.Condition("ResolvedRefs", True, "ResolvedRefs", "every key can be used")
        if findings:
            why = "; ".join(dict.fromkeys(one.message for one in findings))
            resolved = base.Condition("ResolvedRefs", False, "InvalidKeys", why)
        return status.of_consumer(item, (accepted, resolved))


def _entry(of: ir.KeySet, name: str) -> ir.Client:
    """The client that an entry of a Secret is."""
    return ir.Client(name, of, credential=f"{of.namespace}/{of.secret}/{name}")


def asked(given: auth_api_keys.ApiKeys, namespace: str) -> ir.ApiKeys:
    """What a section, said by a policy of `namespace`, asks of requests."""
    headers = tuple(one.lower() for one in given.headers or ())
    params, cookies = given.query_params or (), given.cookies or ()
    if not headers and not params and not cookies:
        headers = (DEFAULT_HEADER,)
    sets = [ir.KeySet(namespace), *(ir.KeySet(namespace, one.name) for one in given.secret_refs or ())]
    return ir.ApiKeys(
        tuple(dict.fromkeys(sets)),
        headers,
        params,
        cookies,
        given.consumers or (),
        given.groups or (),
        bool(given.optional),
    )


def secrets(item: base.AnyObject) -> tuple[auth_api_keys.SecretReference, ...]:
    """The Secrets of clients that an AuthPolicy names; none of one that is wrong."""
    spec = item.spec
    if not isinstance(spec, authpolicy.AuthPolicy) or spec.api_keys is None or spec.api_keys.disabled:
        return ()
    return spec.api_keys.secret_refs or ()


def astray(
    ctx: Context, held: Collection[Ref, base.AnyObject], ref: Ref, item: base.AnyObject
) -> Iterator[Diagnostic]:
    """What is wrong with the Secrets of clients that an AuthPolicy names."""
    for at, wanted in enumerate(secrets(item)):
        origin = Origin(ref, ("spec", "apiKeys", "secretRefs", at))
        target = _secret(ref, wanted.name)
        found = ctx.fetch(held, target)
        if found is None:
            yield _unusable(f"{target} is not there", origin)
            continue
        for name, key in _texts(found.spec):
            if _KEY.fullmatch(key) is None:
                yield _unusable(_malformed(target, name), origin)


def _named(_: Context, ref: Ref, item: base.AnyObject) -> Iterator[tuple[tuple[Ref, Ref], bool]]:
    for name in dict.fromkeys(one.name for one in secrets(item)):
        yield (ref, _secret(ref, name)), True


def _secret(near: Ref, name: str) -> Ref:
    return Ref(meta.CORE_GROUP, "Secret", near.namespace, name)


def _keys(
    item: base.AnyObject | None, wanted: consumer.KeyReference, ref: Ref
) -> list[tuple[str, str]] | str:
    """(entry, key), or why there is none."""
    target = _secret(ref, wanted.name)
    if item is None:
        return f"{target} is not there"
    found = [one for one in _texts(item.spec) if wanted.key in (None, one[0])]
    if not found:
        return f"{target} has no entry `{wanted.key}`" if wanted.key is not None else f"{target} is empty"
    return found


def _texts(spec: secret.Secret) -> list[tuple[str, str]]:
    """Every entry, without the line's end that files have."""
    names = sorted({*spec.data, *spec.string_data})
    return [(name, (spec.value(name) or b"").decode(errors="replace").strip("\r\n")) for name in names]


def _id(of: ir.KeySet, client: str, key: str, at: int = 0) -> CredentialId:
    return CredentialId(of, client, _hash(key), at, shards.of(key))


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _named_client(of: ir.KeySet, client: str) -> str:
    if of.secret:
        return f"entry `{client}` of Secret {of.namespace}/{of.secret}"
    return f"Consumer {of.namespace}/{client}"


def _malformed(target: Ref, entry: str) -> str:
    return f"entry `{entry}` of {target} is no API key: expected 1 to 1024 visible ASCII characters"


def _unusable(why: str, origin: Origin) -> Diagnostic:
    return error("DRG1811", why, origin, label="nobody passes with it")
