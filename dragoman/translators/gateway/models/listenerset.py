"""ListenerSet: listeners that somebody else adds to a Gateway."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dragoman.translators.gateway.models import gateway, meta


@meta.shape
class ParentGateway:
    name: meta.ObjectName
    group: meta.Group = meta.GATEWAY_GROUP
    kind: meta.Kind = "Gateway"
    namespace: meta.Namespace | None = None


@meta.shape
class ListenerSet:
    """ListenerSetSpec."""

    parent_ref: ParentGateway
    listeners: Annotated[tuple[gateway.Listener, ...], Field(min_length=1, max_length=64)]
