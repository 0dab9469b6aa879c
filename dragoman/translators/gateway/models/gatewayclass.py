"""GatewayClass: which controller serves the Gateways of this class."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dragoman.translators.gateway.models import meta


@meta.shape
class ParametersReference:
    group: meta.Group
    kind: meta.Kind
    name: meta.ObjectName
    namespace: meta.Namespace | None = None


@meta.shape
class GatewayClass:
    """GatewayClassSpec."""

    controller_name: meta.Controller
    parameters_ref: ParametersReference | None = None
    description: Annotated[str, Field(max_length=64)] = ""
