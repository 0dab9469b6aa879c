"""Shapes against CRDs: the same fields, the same limits, the same enumerations.

Ours (Backend) always; the Gateway API's where its CRDs are at hand.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import pkgutil
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml

from dragoman.translators.gateway import complaints, models
from dragoman.translators.gateway.models import (
    auth_jwt,
    backend,
    backendtlspolicy,
    gateway,
    gatewayclass,
    grpcroute,
    httproute,
    listenerset,
    meta,
    referencegrant,
    secret,
    streamroutes,
)

OWN = Path(__file__).parents[3] / "manifests" / "crds"
THEIRS = Path(os.environ.get("GATEWAY_API_CRDS", "/work/shared/crds"))
# The CRD says more loosely what we say by a list of words.
LOOSE = {"operator"}


def schema(path: Path, version: str) -> dict[str, Any]:
    crd = yaml.safe_load(path.read_text())
    versions = {one["name"]: one["schema"]["openAPIV3Schema"] for one in crd["spec"]["versions"]}
    found: dict[str, Any] = versions[version]["properties"]["spec"]
    return found


def differences(given: dict[str, Any], annotation: Any, path: str) -> Iterator[str]:
    plain = complaints._plain(annotation)
    limits = complaints._limits(annotation)
    pairs = {"ge": "minimum", "le": "maximum"}
    if given["type"] == "string" and typing.get_origin(plain) is not typing.Literal:
        pairs |= {"min_length": "minLength", "max_length": "maxLength"}
    if given["type"] == "array":
        pairs |= {"min_length": "minItems", "max_length": "maxItems"}
    for ours, theirs in pairs.items():
        implied = 2**31 - 1 if theirs == "maximum" and given.get("format") == "int32" else None
        if limits.get(ours) != given.get(theirs, implied) and "enum" not in given:
            yield f"{path}: {ours} {limits.get(ours)}, CRD has {given.get(theirs)}"
    listed = "enum" in given and typing.get_origin(plain) is typing.Literal
    if listed and set(typing.get_args(plain)) != set(given["enum"]):
        yield f"{path}: enumeration differs"
    if given["type"] == "array":
        yield from differences(given["items"], typing.get_args(plain)[0], f"{path}[]")
    elif "properties" in given:
        if not dataclasses.is_dataclass(plain):
            yield f"{path}: not a shape"
            return
        known = complaints._hints(plain)
        for name in sorted(known.keys() ^ given["properties"].keys()):
            yield f"{path}.{name}: only on one side"
        for name in sorted(known.keys() & given["properties"].keys()):
            if name not in LOOSE:
                yield from differences(given["properties"][name], known[name], f"{path}.{name}")


def test_backend() -> None:
    given = schema(OWN / "dragoman.dev_backends.yaml", "v1alpha1")
    assert list(differences(given, backend.Backend, "spec")) == []


@pytest.mark.conformance
@pytest.mark.parametrize(
    ("name", "version", "shape"),
    [
        ("gatewayclasses", "v1", gatewayclass.GatewayClass),
        ("gateways", "v1", gateway.Gateway),
        ("listenersets", "v1", listenerset.ListenerSet),
        ("httproutes", "v1", httproute.HttpRoute),
        ("grpcroutes", "v1", grpcroute.GrpcRoute),
        ("tlsroutes", "v1", streamroutes.TlsRoute),
        ("tcproutes", "v1", streamroutes.StreamRoute),
        ("udproutes", "v1", streamroutes.StreamRoute),
        ("backendtlspolicies", "v1", backendtlspolicy.BackendTlsPolicy),
        ("referencegrants", "v1beta1", referencegrant.ReferenceGrant),
    ],
)
def test_gateway_api(name: str, version: str, shape: type) -> None:
    path = THEIRS / f"gateway.networking.k8s.io_{name}.yaml"
    if not path.is_file():
        pytest.skip(f"no CRDs of the Gateway API in {THEIRS} (set GATEWAY_API_CRDS)")
    found = list(differences(schema(path, version), shape, "spec"))
    if name == "grpcroutes":  # it shares HTTPRoute's filters, and `rules_grpc` refuses those that it has not
        found = [one for one in found if ".filters[]." not in one]
    assert found == []


def shapes() -> dict[str, Any]:
    """All of them by their names."""
    found = {}
    for info in pkgutil.iter_modules(models.__path__):
        module = importlib.import_module(f"{models.__name__}.{info.name}")
        for name, item in vars(module).items():
            if dataclasses.is_dataclass(item) and item.__module__ == module.__name__:
                found[f"{info.name}.{name}"] = item
    return found


SHAPES = shapes()
NEEDED = (dataclasses.MISSING, dataclasses.MISSING)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_shape_that_says_nothing_is_what_pydantic_makes_of_nothing(shape: Any) -> None:
    """Pydantic puts in the defaults itself, and must know what the dataclass knows."""
    needed = [one for one in dataclasses.fields(shape) if (one.default, one.default_factory) == NEEDED]
    read = pydantic.TypeAdapter(shape).validate_python
    if needed:
        with pytest.raises(pydantic.ValidationError, match="Field required"):
            read({})
    else:
        assert read({}) == shape()
        assert repr(read({})) == repr(shape())


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_fields_are_called_as_pydantic_calls_them(shape: Any) -> None:
    """Our names for them, in diagnostics, are those under which documents are read."""
    hints = typing.get_type_hints(shape)
    names = {alias for name, alias in meta.names(shape).items() if hints[name] not in (Any, object)}
    try:
        pydantic.TypeAdapter(shape).validate_python(dict.fromkeys(names, object()))
    except pydantic.ValidationError as refused:
        errors = refused.errors()
        assert {error["loc"][0] for error in errors} == names
        assert not any(error["type"] in ("unexpected_keyword_argument", "missing") for error in errors)
    else:
        assert not names


def test_what_nobody_is_to_see_is_not_shown() -> None:
    assert meta.quiet(secret.Secret) == {"data", "string_data"}
    assert meta.quiet(auth_jwt.Jwks) == {"inline"}
    assert "hunter2" not in repr(secret.Secret(string_data={"password": "hunter2"}, data={"key": b"hunter2"}))
