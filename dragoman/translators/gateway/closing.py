"""What stands for an object that was never valid, of a kind that fails closed.

An AuthPolicy that is wrong must not leave open what it was to protect, nor a ClientPolicy that asks for
client certificates. Of each only the part that protects is read, with what it targets; `decode` takes the
first candidate that is well formed and targets something that the kind may target. Where not even the
targets are, nobody can tell what was to be protected.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from dragoman.translators.gateway.models import authpolicy, clientpolicy, policy
from dragoman.translators.gateway.policies import attach

Spec = Mapping[str, Any]
Candidates = Iterator[tuple[type, Spec]]

_TARGETS: Final = ("targetRefs", "targetSelectors", "mode")
_NOBODY: Final = {"caCertificateRefs": [{"kind": "ConfigMap", "group": "", "name": "an-invalid-policy"}]}
"""Authorities that are not there: listeners that want them let nobody in."""


def _of_auth(spec: Spec) -> Candidates:
    """Requests under it are answered 500."""
    yield authpolicy.Broken, spec


def _of_client(spec: Spec) -> Candidates:
    """Its client certificates are asked for as it says, if that part is right, else nobody is let in. One
    that asks for none has no effect."""
    asked = spec.get("clientValidation")
    if asked is None:
        return
    for checks in (asked, _NOBODY):
        about = {name: spec[name] for name in _TARGETS if name in spec}
        yield clientpolicy.ClientPolicy, {**about, "clientValidation": checks}


CANDIDATES: Final[Mapping[str, Callable[[Spec], Candidates]]] = {
    "AuthPolicy": _of_auth,
    "ClientPolicy": _of_client,
}
"""Kind of ours -> what may stand for one that is wrong."""


def closed(kind: str, spec: policy.Policy) -> policy.Policy | None:
    """A candidate with those of its targets that a policy of `kind` may have; None: with none of them."""

    def fits(one: policy.TargetRef | policy.TargetSelector) -> bool:
        return one.kind in attach.KINDS[kind] and one.group in (None, attach.GROUPS[one.kind])

    refs, selectors = tuple(filter(fits, spec.target_refs)), tuple(filter(fits, spec.target_selectors))
    return (
        dataclasses.replace(spec, target_refs=refs, target_selectors=selectors) if refs or selectors else None
    )
