"""ReferenceGrant: who, from other namespaces, may refer to what stands in this one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dragoman.translators.gateway.models import meta


@meta.shape
class From:
    group: meta.Group
    kind: meta.Kind
    namespace: meta.Namespace


@meta.shape
class To:
    group: meta.Group
    kind: meta.Kind
    name: meta.ObjectName | None = None


@meta.shape
class ReferenceGrant:
    """ReferenceGrantSpec."""

    from_: Annotated[tuple[From, ...], Field(min_length=1, max_length=16, alias="from")]
    to: Annotated[tuple[To, ...], Field(min_length=1, max_length=16)]
