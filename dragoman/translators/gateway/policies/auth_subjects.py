"""What Consumers are known by besides API keys: subjects of tokens, names in certificates.

    Consumer -> subjects --+--> contents (by namespace and shard), which filters hold
                           +--> owners (by namespace and subject): more than one is a conflict

Unlike a key, a subject may be known in several namespaces: each policy looks in its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from dragoman.diagnostics import Diagnostic, error
from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import model as ir, shards
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway.models import auth_jwt, authpolicy, consumer, policy
from dragoman.translators.gateway.policies import merge


class SubjectId(NamedTuple):
    """A subject of a Consumer. `field`, `at`: where it says so."""

    namespace: str
    client: str
    proof: ir.Proof
    value: str
    field: str
    at: int


class Subjects:
    """The collections. `contents` has what every set of subjects holds."""

    def __init__(self, graph: Graph, consumers: Collection[Ref, base.AnyObject]) -> None:
        self._consumers = consumers
        subjects: Collection[SubjectId, ir.Client] = graph.map_many("subjects", consumers, _subjects)
        self._owners: Collection[tuple[str, ir.Proof, str], frozenset[str]] = graph.group_by(
            "owners of subjects",
            subjects,
            lambda key, _: ((key.namespace, key.proof, key.value),),
            lambda _, __, found: frozenset(key.client for key in found),
        )
        self.contents: Collection[ir.Shard, ir.Content] = graph.group_by(
            "subject sets",
            subjects,
            lambda key, _: (ir.Shard(ir.SubjectSet(key.namespace), shards.of(key.value)),),
            _content,
        )

    def findings(self, ctx: Context, ref: Ref) -> Iterator[Diagnostic]:
        """What is wrong with a Consumer's subjects: others have them too."""
        item = ctx.fetch(self._consumers, ref)
        for key, _ in _subjects(ctx, ref, item) if item is not None else ():
            owners = ctx.fetch(self._owners, (key.namespace, key.proof, key.value)) or frozenset()
            others = sorted(owners - {ref.name})
            if others:
                names = ", ".join(f"Consumer {ref.namespace}/{name}" for name in others)
                message = f"{names} has the same {_WORDS[key.proof.kind]} `{key.value}`, so it is nobody's"
                origin = Origin(ref, ("spec", key.field, key.at))
                yield error(
                    "DRG1812", message, origin, label="it makes nobody a Consumer", help="give each its own"
                )


_WORDS = {"token": "subject", "certificate": "name", "user": "user"}


def of_token(jwt: auth_jwt.Jwt, merged: merge.Merged[authpolicy.AuthPolicy]) -> ir.Lookup | None:
    """By which claim Consumers are known, and of which namespace: that of the policy that says so."""
    if jwt.consumer_claim is None:
        return None
    namespace = merged.says[("jwt", "consumerClaim")].namespace
    return ir.Lookup(namespace, ir.Proof("token", jwt.consumer_claim))


def certificate(merged: merge.Merged[authpolicy.AuthPolicy]) -> ir.Certificate | None:
    """What is asked of client certificates."""
    wanted = policy.on(merged.spec.client_certificate)
    if wanted is None:
        return None
    lookup: ir.Lookup | None = None
    if wanted.consumer_name is not None:
        namespace = merged.says[("clientCertificate", "consumerName")].namespace
        lookup = ir.Lookup(namespace, ir.Proof("certificate", wanted.consumer_name))
    return ir.Certificate(bool(wanted.optional), lookup)


def _subjects(_: Context, ref: Ref, item: base.AnyObject) -> Iterator[tuple[SubjectId, ir.Client]]:
    spec: consumer.Consumer = item.spec
    client = ir.Client(ref.name, ir.KeySet(ref.namespace), spec.groups, spec.plan or "")
    known = [
        *(
            ("tokens", at, ir.Proof("token", one.claim, one.issuer), one.value)
            for at, one in enumerate(spec.tokens)
        ),
        *(("users", at, ir.Proof("user"), name) for at, name in enumerate(spec.users)),
        *(
            ("certificates", at, ir.Proof("certificate", one.type), one.name)
            for at, one in enumerate(spec.certificates)
        ),
    ]
    for field, at, proof, value in known:
        yield SubjectId(ref.namespace, ref.name, proof, value, field, at), client


def _order(key: SubjectId) -> tuple[str, ...]:
    return (key.proof.kind, key.proof.by, key.proof.issuer, key.value, key.client)


def _content(_: Context, shard: ir.Shard, found: Mapping[SubjectId, ir.Client]) -> ir.Content:
    known = tuple((one.proof, one.value, found[one]) for one in sorted(found, key=_order))
    return ir.Subjects(shard.of.namespace, known)
