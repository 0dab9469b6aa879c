"""Documents into objects: the one place where what users write is validated.

`decode(document)` looks up the kind, validates the spec (for core kinds, the body) into its frozen
shape, then runs the rules that span fields. It never raises for what a user wrote: every mistake is a
diagnostic with its path, and all of them are reported at once. The intake calls it; the graph only ever
sees what passed.
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pydantic

from dragoman.diagnostics import Diagnostic, error
from dragoman.document import Document
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import (
    closing,
    complaints,
    keypairs,
    rules_auth,
    rules_backend,
    rules_clients,
    rules_gateway,
    rules_grpc,
    rules_http,
    rules_httppolicy,
    rules_policies,
    rules_ratelimit,
    rules_rollout,
    rules_streams,
    rules_traffic,
    validation,
)
from dragoman.translators.gateway.models import (
    authpolicy,
    backend,
    backendtlspolicy,
    clientpolicy,
    configmap,
    consumer,
    endpointslice,
    gateway,
    gatewayclass,
    grpcroute,
    httppolicy,
    httproute,
    listenerset,
    meta,
    namespace,
    ratelimitpolicy,
    referencegrant,
    rollout,
    secret,
    service,
    streamroutes,
    trafficpolicy,
)

_DROPPED_ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"
_TOP: Final = ("apiVersion", "kind", "metadata", "spec", "status")
_METADATA: Final = (
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
)
_METADATA_SET: Final = frozenset(_METADATA)
_TOP_SET: Final = frozenset(_TOP)
_NAMED: Final = frozenset(("name", "namespace"))
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
"""How Kubernetes writes it."""
_NO_META: Final = base.Meta()


Check = Callable[[Ref, Any], Iterator[Diagnostic]]
"""Rules that span several fields of one spec."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """How one kind is read. `body`: the shape is that of the whole body, else of `spec`. `early`: versions
    that have a shape of their own."""

    shape: type
    versions: tuple[str, ...]
    body: bool
    check: Check | None
    early: Mapping[str, type]

    def shape_of(self, body: Mapping[str, Any]) -> type:
        """The shape for the version that `body` says."""
        return self.early.get(_version(body), self.shape) if self.early else self.shape


def _reader(
    shape: type, *versions: str, body: bool = False, check: Check | None = None, **early: type
) -> _Reader:
    return _Reader(shape, (*versions, *early), body, check, early)


def _version(body: Mapping[str, Any]) -> str:
    return str(body.get("apiVersion")).rpartition("/")[2]


READERS: Final[Mapping[tuple[str, str], _Reader]] = {
    (meta.GATEWAY_GROUP, "GatewayClass"): _reader(gatewayclass.GatewayClass, "v1", "v1beta1"),
    (meta.GATEWAY_GROUP, "Gateway"): _reader(gateway.Gateway, "v1", "v1beta1", check=rules_gateway.check),
    (meta.GATEWAY_GROUP, "ListenerSet"): _reader(
        listenerset.ListenerSet, "v1", check=rules_gateway.check_set
    ),
    (meta.GATEWAY_GROUP, "GRPCRoute"): _reader(grpcroute.GrpcRoute, "v1", check=rules_grpc.check),
    (meta.GATEWAY_GROUP, "TLSRoute"): _reader(
        streamroutes.TlsRoute,
        "v1",
        "v1alpha3",
        check=rules_streams.check,
        v1alpha2=streamroutes.EarlyTlsRoute,
    ),
    (meta.GATEWAY_GROUP, "TCPRoute"): _reader(
        streamroutes.StreamRoute, "v1", "v1alpha2", check=rules_streams.check
    ),
    (meta.GATEWAY_GROUP, "UDPRoute"): _reader(
        streamroutes.StreamRoute, "v1", "v1alpha2", check=rules_streams.check
    ),
    (meta.GATEWAY_GROUP, "BackendTLSPolicy"): _reader(
        backendtlspolicy.BackendTlsPolicy, "v1", "v1alpha3", check=rules_policies.check_tls
    ),
    (meta.GATEWAY_GROUP, "HTTPRoute"): _reader(httproute.HttpRoute, "v1", "v1beta1", check=rules_http.check),
    (meta.GATEWAY_GROUP, "ReferenceGrant"): _reader(referencegrant.ReferenceGrant, "v1", "v1beta1"),
    (meta.DRAGOMAN_GROUP, "Backend"): _reader(backend.Backend, "v1alpha1", check=rules_backend.check),
    (meta.DRAGOMAN_GROUP, "TrafficPolicy"): _reader(
        trafficpolicy.TrafficPolicy, "v1alpha1", check=rules_traffic.check
    ),
    (meta.DRAGOMAN_GROUP, "AuthPolicy"): _reader(authpolicy.AuthPolicy, "v1alpha1", check=rules_auth.check),
    (meta.DRAGOMAN_GROUP, "HTTPPolicy"): _reader(
        httppolicy.HttpPolicy, "v1alpha1", check=rules_httppolicy.check
    ),
    (meta.DRAGOMAN_GROUP, "ClientPolicy"): _reader(
        clientpolicy.ClientPolicy, "v1alpha1", check=rules_clients.check
    ),
    (meta.DRAGOMAN_GROUP, "Consumer"): _reader(consumer.Consumer, "v1alpha1"),
    (meta.DRAGOMAN_GROUP, "Rollout"): _reader(rollout.Rollout, "v1alpha1", check=rules_rollout.check),
    (meta.DRAGOMAN_GROUP, "RateLimitPolicy"): _reader(
        ratelimitpolicy.RateLimitPolicy, "v1alpha1", check=rules_ratelimit.check
    ),
    (meta.DISCOVERY_GROUP, "EndpointSlice"): _reader(endpointslice.EndpointSlice, "v1", body=True),
    (meta.CORE_GROUP, "Service"): _reader(service.Service, "v1", body=True),
    (meta.CORE_GROUP, "Secret"): _reader(secret.Secret, "v1", body=True, check=keypairs.check),
    (meta.CORE_GROUP, "ConfigMap"): _reader(configmap.ConfigMap, "v1", body=True),
    (meta.CORE_GROUP, "Namespace"): _reader(namespace.Namespace, "v1", body=True),
}
KINDS: Final = tuple(READERS)


def decode(document: Document) -> base.Decoded:
    """An object, or diagnostics that say why not. `document.ref` must be of one of `KINDS`."""
    decoded = _decode(document)
    ref, spec = document.ref, document.body.get("spec")
    candidates = closing.CANDIDATES.get(ref.kind) if decoded.object is None else None
    if candidates is None or ref.group != meta.DRAGOMAN_GROUP or not isinstance(spec, Mapping):
        return decoded
    about, _ = _meta(ref, document.body.get("metadata"))
    for shape, part in candidates(spec):
        try:
            found = closing.closed(ref.kind, validation.validator(shape)(_without_nulls(part)))
        except pydantic.ValidationError:
            continue
        if found is not None:
            return base.Decoded(None, decoded.diagnostics, base.Object(ref, about, found))
    return decoded


def _decode(document: Document) -> base.Decoded:
    ref, body = document.ref, document.body
    reader = READERS[ref.group, ref.kind]
    findings = list(_envelope(ref, body, reader))
    about, complaint = _meta(ref, body.get("metadata"))
    findings += complaint
    given = body if reader.body else body.get("spec")
    if given is None:
        findings.append(error("DRG1102", "`spec` is missing", Origin(ref), label="`spec` goes here"))
        return base.Decoded(None, tuple(findings))
    shape = reader.shape_of(body)
    validate = validation.validator(shape)
    try:
        spec = validate(validation.share(shape, given))
    except pydantic.ValidationError:
        # Null stands for "not there" (the API server prunes it); it matters only where something fails.
        try:
            spec = validate(_without_nulls(given))
        except pydantic.ValidationError as failure:
            start = () if reader.body else ("spec",)
            findings += complaints.diagnostics(ref, failure, shape, start, secret=ref.kind == "Secret")
            return base.Decoded(None, tuple(findings))
    if reader.check is not None:
        findings += reader.check(ref, spec)
    if findings:
        return base.Decoded(None, tuple(findings))
    validation.share_lists(spec)
    return base.Decoded(base.Object(ref, about, spec))


def _envelope(ref: Ref, body: Mapping[str, Any], reader: _Reader) -> Iterator[Diagnostic]:
    """apiVersion, and the fields beside `spec`."""
    version = _version(body)
    if version not in reader.versions:
        known = ", ".join(f"{ref.group}/{v}" if ref.group else v for v in reader.versions)
        yield error(
            "DRG1109",
            f"{ref.kind} has no version `{version}`",
            Origin(ref, ("apiVersion",)),
            label=f"expected {known}",
        )
    if reader.body or body.keys() <= _TOP_SET:
        return
    for field in body:
        if field not in _TOP:
            hint = complaints.near(field, _TOP) or complaints.near(field, complaints.fields(reader.shape))
            if field in complaints.fields(reader.shape):
                hint = f"`{field}` goes below `spec`"
            yield error("DRG1101", f"`{field}` is not a known field", Origin(ref, (str(field),)), help=hint)


def _meta(ref: Ref, given: Any) -> tuple[base.Meta, list[Diagnostic]]:
    """What translation reads of `metadata`, and what is wrong with it."""
    if not given:
        return _NO_META, []
    if type(given) is not dict and not isinstance(given, Mapping):
        where = Origin(ref, ("metadata",))
        return base.Meta(), [
            error("DRG1103", "`metadata` has the wrong type", where, label="expected a mapping")
        ]
    findings: list[Diagnostic] = []
    if given.keys() <= _NAMED:
        return _NO_META, findings
    if not given.keys() <= _METADATA_SET:
        for field in given:
            if field not in _METADATA_SET:
                where = Origin(ref, ("metadata", str(field)))
                hint = complaints.near(field, _METADATA)
                findings.append(error("DRG1101", f"`{field}` is not a known field", where, help=hint))
    labels = _pairs(ref, given, "labels", findings)
    annotations = _pairs(ref, given, "annotations", findings)
    created = _moment(given.get("creationTimestamp") or "")
    if created is None:
        where = Origin(ref, ("metadata", "creationTimestamp"))
        label = "expected a time such as 2026-01-31T12:00:00Z"
        findings.append(error("DRG1103", "`creationTimestamp` is no time", where, label=label))
        created = ""
    generation = given.get("generation") or 0
    if type(generation) is not int:
        where = Origin(ref, ("metadata", "generation"))
        findings.append(
            error("DRG1103", "`generation` has the wrong type", where, label="expected a whole number")
        )
        generation = 0
    return _about(labels, annotations, created, generation), findings


def _moment(given: Any) -> str | None:
    """A time in the one form that sorts: in UTC, whole seconds. None if it is none."""
    if isinstance(given, str) and (not given or _MOMENT.fullmatch(given)):
        return given
    try:
        found = given if isinstance(given, datetime.datetime) else datetime.datetime.fromisoformat(str(given))
        known = found if found.tzinfo else found.replace(tzinfo=datetime.UTC)
        return known.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        return None


@functools.lru_cache(maxsize=1024)
def _about(
    labels: tuple[tuple[str, str], ...],
    annotations: tuple[tuple[str, str], ...],
    created: str,
    generation: int,
) -> base.Meta:
    """Kept, because in files most objects have nothing of it."""
    return base.Meta(labels, annotations, created, generation)


def _pairs(
    ref: Ref, given: Mapping[str, Any], field: str, findings: list[Diagnostic]
) -> tuple[tuple[str, str], ...]:
    values = given.get(field)
    if not values:
        return ()
    if type(values) is not dict and not isinstance(values, Mapping):
        where = Origin(ref, ("metadata", field))
        findings.append(error("DRG1103", f"`{field}` has the wrong type", where, label="expected a mapping"))
        return ()
    kept: list[tuple[str, str]] = []
    for key, value in values.items():
        if not isinstance(key, str) or not isinstance(value, str):
            where = Origin(ref, ("metadata", field, str(key)))
            label = "expected text (quote it if it looks like a number)"
            findings.append(error("DRG1103", f"`{key}` has the wrong type", where, label=label))
        elif key != _DROPPED_ANNOTATION:
            kept.append((key, value))
    return tuple(sorted(kept))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
