"""The authorities and lists of revoked certificates that ClientPolicies refer to.

Each policy has at most two bundles, under its own name: `ca` and `crl`. A bundle of which nothing can be
used closes the listeners that want it (`policies.clients`): who fails to check, lets nobody in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dragoman.diagnostics import Diagnostic
from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import clientcas, grants, secrets
from dragoman.translators.gateway.models import clientpolicy, meta

CA = "ca"
CRL = "crl"


@dataclass(frozen=True, slots=True)
class Trust:
    """What one policy's references come to. `broken`: the bundles of which nothing can be used, and why."""

    broken: tuple[tuple[str, str], ...]
    resolved: base.Condition
    findings: tuple[Diagnostic, ...]

    def flaw(self, use: str) -> str:
        """Why a bundle cannot be used; "" if it can."""
        return dict(self.broken).get(use, "")


def user(granted: grants.Grants) -> secrets.User:
    """ClientPolicies, as users of certificates."""

    def parts(ctx: Context, key: ir.SecretKey, spec: clientpolicy.ClientPolicy) -> Iterator[ir.SecretKey]:
        for _, wanted in _references(spec, key.use):
            part = secrets.trusted(wanted, wanted.namespace or key.ref.namespace, key.use)
            if part is not None and grants.permitted(ctx, granted, key.ref, part.ref):
                yield part

    return secrets.User(meta.DRAGOMAN_GROUP, "ClientPolicy", _uses, parts, patient=True)


def build(
    graph: Graph,
    objects: Collection[Ref, base.Object[clientpolicy.ClientPolicy]],
    granted: grants.Grants,
    flaws: secrets.Flaws,
) -> Collection[Ref, Trust]:
    """What becomes of the references of each policy that has some."""

    def judge(ctx: Context, ref: Ref, item: base.Object[clientpolicy.ClientPolicy]) -> Trust | None:
        broken: list[tuple[str, str]] = []
        bad: list[tuple[str, Diagnostic]] = []
        some = False
        for use in (CA, CRL):
            found = list(_references(item.spec, use))
            some = some or bool(found)
            problems = [
                problem
                for path, wanted in found
                if (problem := clientcas.problem(ctx, granted, flaws, ref, wanted, Origin(ref, path), use))
            ]
            if found and len(problems) == len(found):
                broken.append((use, problems[0][1].message))
            bad += problems
        if not some:
            return None
        resolved = base.Condition("ResolvedRefs", True, "ResolvedRefs", "every reference leads somewhere")
        if bad:
            message = "; ".join(finding.message for _, finding in bad)
            resolved = base.Condition("ResolvedRefs", False, bad[0][0], message)
        return Trust(tuple(broken), resolved, tuple(finding for _, finding in bad))

    return graph.map_one("trust of ClientPolicies", objects, judge)


def _references(
    spec: clientpolicy.ClientPolicy, use: str
) -> Iterator[tuple[tuple[str | int, ...], meta.ObjectReference]]:
    """Path and reference of everything that a bundle is made of."""
    checks = spec.client_validation
    if checks is None:
        return
    several = checks.ca_certificate_refs if use == CA else checks.crl_refs
    field = "caCertificateRefs" if use == CA else "crlRefs"
    for at, wanted in enumerate(several or ()):
        yield ("spec", "clientValidation", field, at), wanted


def _uses(ref: Ref, spec: clientpolicy.ClientPolicy) -> Iterator[ir.SecretKey]:
    for use in (CA, CRL):
        for _, wanted in _references(spec, use):
            yield ir.SecretKey(ref, use)
            part = secrets.trusted(wanted, wanted.namespace or ref.namespace, use)
            if part is not None:
                yield part
