"""All there is to say of a client, in one header: `api_keys` and `consumers` put it there, `clients` reads
it."""

from __future__ import annotations

import base64
import functools

from dragoman import proto
from dragoman.ir import model as ir
from dragoman.proto.google.protobuf import Value


@functools.lru_cache(maxsize=1 << 18)
def client(given: ir.Client, via: str, credential: str = "") -> str:
    """A google.protobuf.Value in base64. `via`: the kind of credential; `credential`: which of its keys."""
    value = Value()
    said = value.struct_value
    said.fields["id"].string_value = given.id
    said.fields["namespace"].string_value = given.of.namespace
    said.fields["secret"].string_value = given.of.secret
    # Names are unique among the Consumers of a namespace, or the entries of a Secret: limits count by this.
    said.fields["key"].string_value = f"{given.of.namespace}/{given.of.secret}/{given.id}"
    said.fields["plan"].string_value = given.plan
    said.fields["credential"].string_value = credential
    said.fields["via"].string_value = via
    said.fields["groupList"].string_value = ",".join(given.groups)
    groups = said.fields["groups"].list_value
    groups.SetInParent()
    groups.extend(given.groups)
    return base64.b64encode(proto.serialize(value)).decode()
