"""Whose document is it: from plain data to the objects named in it.

Checks what every Kubernetes object has (`apiVersion`, `kind`, `metadata.name`), takes lists apart, and
fills in the namespace `default` where a namespaced kind names none. Sources know no kinds; which ones are
cluster-scoped they are told. Called by `files`, and for the checks by any other source.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from dragoman.refs import FieldPath, Ref

CLUSTER_SCOPED: Final = frozenset(
    {
        ("", "Namespace"),
        ("", "Node"),
        ("", "PersistentVolume"),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("apiregistration.k8s.io", "APIService"),
        ("certificates.k8s.io", "ClusterTrustBundle"),
        ("gateway.networking.k8s.io", "GatewayClass"),
        ("networking.k8s.io", "IngressClass"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    }
)
"""(group, kind)s without a namespace."""

DEFAULT_NAMESPACE: Final = "default"

_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
# Names of RBAC objects may hold colons and capitals; only what would break a path is out.
_SEGMENT_GROUPS = frozenset({"rbac.authorization.k8s.io"})


class Found(NamedTuple):
    """An object in a document: who, where in the document, and its data."""

    ref: Ref
    path: FieldPath
    body: Mapping[str, Any]


class Fault(NamedTuple):
    """What is no object, and why. `path` is the field to point at."""

    code: str
    message: str
    path: FieldPath
    label: str = ""
    help: str = ""


def identify(data: Any, cluster_scoped: frozenset[tuple[str, str]]) -> tuple[list[Found], list[Fault]]:
    """The objects of one document, lists taken apart, in their order; and what is wrong with the rest."""
    if isinstance(data, dict) and "items" not in data:
        only = _identify(data, (), ("", ""), cluster_scoped)
        return ([only], []) if isinstance(only, Found) else ([], [only])
    found: list[Found] = []
    faults: list[Fault] = []
    for each in _items(data, (), ("", "")):
        result = each if isinstance(each, Fault) else _identify(*each, cluster_scoped)
        if isinstance(result, Found):
            found.append(result)
        else:
            faults.append(result)
    return found, faults


def _items(
    data: Any, path: FieldPath, hints: tuple[str, str]
) -> Iterator[tuple[Any, FieldPath, tuple[str, str]] | Fault]:
    """A document, or the items of a list (`List`, or a kind's own, as the API server returns:
    `HTTPRouteList`).

    `hints` are apiVersion and kind for items of the latter, which need not name their own.
    """
    if not isinstance(data, dict):
        yield data, path, hints
        return
    kind, items = data.get("kind"), data.get("items")
    if not (isinstance(kind, str) and kind.endswith("List") and "items" in data):
        yield data, path, hints
        return
    if items is not None and not isinstance(items, list):
        yield Fault("DRG1003", f"`items` is {_form(items)} and should be a list", (*path, "items"))
        return
    version = data.get("apiVersion")
    hints = (version, kind.removesuffix("List")) if kind != "List" and isinstance(version, str) else ("", "")
    for index, item in enumerate(items or ()):
        yield from _items(item, (*path, "items", index), hints)


def _identify(
    data: Any, path: FieldPath, hints: tuple[str, str], cluster_scoped: frozenset[tuple[str, str]]
) -> Found | Fault:
    if not isinstance(data, dict):
        return Fault(
            "DRG1003",
            f"{_form(data)} stands here where an object is expected",
            path,
            help="an object begins with `apiVersion`, `kind` and `metadata`",
        )
    version, kind = data.get("apiVersion", hints[0]), data.get("kind", hints[1])
    if not (isinstance(version, str) and version and isinstance(kind, str) and kind):
        return _unnamed(data, path, hints)
    metadata = data.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("name") is None:
        hint = "`generateName` works in a cluster only; give it a `name`" if _generated(metadata) else ""
        return Fault("DRG1004", f"{kind} without `metadata.name`", (*path, "metadata"), help=hint)
    group = _group(version)
    name, namespace = metadata["name"], metadata.get("namespace")
    if (wrong := _wrong_name(name, group)) is not None:
        return Fault(
            "DRG1005", f"the name of this {kind} {wrong}", (*path, "metadata", "name"), help=_quote(name)
        )
    if (group, kind) in cluster_scoped:
        return Found(Ref(group, kind, "", name), path, _complete(data, version, kind))
    if namespace is None or namespace == "":
        namespace = DEFAULT_NAMESPACE
    elif not isinstance(namespace, str) or not _is_label(namespace):
        return Fault(
            "DRG1005",
            f"the namespace of {kind} `{name}` is not a DNS label",
            (*path, "metadata", "namespace"),
            label="lower-case letters, digits and `-`, at most 63",
            help=_quote(namespace),
        )
    return Found(Ref(group, kind, namespace, name), path, _complete(data, version, kind))


@functools.lru_cache(maxsize=256)
def _group(version: str) -> str:
    """The group in an `apiVersion`; the same string for all of its objects."""
    return version.rpartition("/")[0]


@functools.lru_cache(maxsize=1024)
def _is_label(name: str) -> bool:
    return _LABEL.fullmatch(name) is not None


def _complete(data: dict[str, Any], version: str, kind: str) -> dict[str, Any]:
    if "kind" in data and "apiVersion" in data:
        return data
    return {"apiVersion": version, "kind": kind, **data}


def _unnamed(data: dict[str, Any], path: FieldPath, hints: tuple[str, str]) -> Fault:
    for field in ("apiVersion", "kind"):
        if field in data and not (isinstance(data[field], str) and data[field]):
            return Fault(
                "DRG1003", f"`{field}` is {_form(data[field])} and should be a string", (*path, field)
            )
    fields = zip(("apiVersion", "kind"), hints, strict=True)
    missing = [f"`{field}`" for field, hint in fields if not (hint or field in data)]
    name = f"{data['kind']} without " if "kind" in data else "the document has no "
    return Fault(
        "DRG1003",
        name + " and no ".join(missing),
        path,
        help="every object begins with `apiVersion`, `kind` and `metadata`; keep other YAML elsewhere",
    )


def _generated(metadata: Any) -> bool:
    return isinstance(metadata, dict) and "generateName" in metadata


def _wrong_name(name: Any, group: str) -> str | None:
    if not isinstance(name, str):
        return f"is {_form(name)} and should be a string"
    if not name:
        return "is empty"
    if len(name) > 253:
        return f"has {len(name)} characters; at most 253 are allowed"
    if group in _SEGMENT_GROUPS:
        return "contains `/` or `%`" if set("/%") & set(name) or name in (".", "..") else None
    if _SUBDOMAIN.fullmatch(name) is None:
        return "is not a DNS name (lower-case letters, digits, `-` and `.`)"
    return None


def _quote(value: Any) -> str:
    return "" if isinstance(value, str) else "put it in quotes"


def _form(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return f"the boolean {str(value).lower()}"
        case int() | float():
            return f"the number {value}"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "a mapping"
