"""An AuthPolicy's `external` -> the service that is asked. Called by `auth`, `wiring_routes` (which follows
the reference, and closes the route where it leads nowhere) and `wiring_policies` (status)."""

from __future__ import annotations

from dataclasses import replace

from dragoman.diagnostics import error
from dragoman.graph.collection import Context
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators.gateway import backends
from dragoman.translators.gateway.models import auth_external, authpolicy, policy


def refers(item: object) -> bool:
    """Whether a policy refers to a service."""
    said = policy.on(item.external) if isinstance(item, authpolicy.AuthPolicy) else None
    return said is not None and said.backend_ref is not None


def cluster(
    ctx: Context, sources: backends.Sources, spec: authpolicy.AuthPolicy, origin: Origin
) -> ir.ClusterKey | backends.Unresolved | None:
    """The service's cluster; `origin` is where `backendRef` was said."""
    said = policy.on(spec.external)
    if said is None or said.backend_ref is None:
        return None
    how = ir.Transport.GRPC if said.protocol == "GRPC" else ir.Transport.APPLICATION
    return backends.resolve(ctx, sources, origin.ref, said.backend_ref, origin, how)


def unresolved(
    ctx: Context, sources: backends.Sources, ref: Ref, spec: authpolicy.AuthPolicy
) -> backends.Unresolved | None:
    """What is wrong with the reference of one policy."""
    origin = Origin(ref, ("spec", "external", "backendRef"))
    found = cluster(ctx, sources, spec, origin)
    if not isinstance(found, backends.Unresolved):
        return None
    message = f"the service that is asked who may pass cannot be: {found.finding.message}"
    flaw = error("DRG1821", message, origin, label="requests under the policy are answered 500")
    return replace(found, finding=flaw)


def made(given: auth_external.External, key: ir.ClusterKey) -> ir.External:
    """The section, with the cluster that its reference means."""
    return ir.External(
        key,
        given.protocol == "HTTP",
        given.path_prefix or "",
        given.timeout,
        given.fail_open,
        tuple((one.name.lower(), one.value) for one in given.add_headers),
        tuple(sorted((one.name, one.value) for one in given.context)),
        _lower(given.backend_headers),
        _lower(given.client_headers) if given.client_headers is not None else None,
        _lower(given.success_headers),
        given.body_bytes,
    )


def _lower(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.lower() for name in names))
