"""The schemas of Dragoman's own kinds, made of the models that read them: for CRDs and for docs/reference.

A schema is plain data in the structural form that Kubernetes wants (apiextensions.k8s.io/v1): no
references, no `null`, descriptions of one paragraph.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final

import pydantic

from dragoman.translators.gateway import decode
from dragoman.translators.gateway.models import meta

Schema = dict[str, Any]

_KEPT: Final = (
    *("type", "format", "enum", "pattern", "minimum", "maximum"),
    *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "required"),
)


def of(kind: str) -> Schema:
    """The schema of the `spec` of one of our kinds."""
    shape = decode.READERS[meta.DRAGOMAN_GROUP, kind].shape
    whole = pydantic.TypeAdapter(shape).json_schema()
    return _plain(whole, whole.get("$defs", {}))


def about(kind: str) -> str:
    """What the kind is for: the first paragraph of its module."""
    module = inspect.getmodule(decode.READERS[meta.DRAGOMAN_GROUP, kind].shape)
    return _paragraph(module.__doc__ or "" if module is not None else "")


def _plain(given: Mapping[str, Any], known: Mapping[str, Any]) -> Schema:
    """One schema without references and alternatives to `null`."""
    own = given.get("description")
    while "$ref" in given or "anyOf" in given or "allOf" in given:
        if "$ref" in given:
            given = known[given["$ref"].rpartition("/")[2]]
        else:
            several = [one for one in given.get("anyOf", given.get("allOf", ())) if one.get("type") != "null"]
            if len(several) != 1:
                return {"x-kubernetes-int-or-string": True, "description": _paragraph(own or "")}
            given = several[0]
    made: Schema = {name: given[name] for name in _KEPT if name in given}
    for bound in ("minimum", "maximum"):
        exclusive = f"exclusive{bound.capitalize()}"
        if exclusive in given:
            made |= {bound: given[exclusive], exclusive: True}
    if "const" in given:
        made["enum"] = [given["const"]]
        made.setdefault("type", "string")
    description = own or given.get("description")
    if description:
        made["description"] = _paragraph(description)
    if "properties" in given:
        made["properties"] = {name: _plain(one, known) for name, one in given["properties"].items()}
    if given.get("additionalProperties") is True:
        made["x-kubernetes-preserve-unknown-fields"] = True
    if isinstance(given.get("additionalProperties"), dict):
        made["additionalProperties"] = _plain(given["additionalProperties"], known)
    elif given.get("additionalProperties") is True:
        made["x-kubernetes-preserve-unknown-fields"] = True
    if "items" in given:
        made["items"] = _plain(given["items"], known)
    return made


def _paragraph(text: str) -> str:
    return " ".join(inspect.cleandoc(text).split("\n\n")[0].split())
