"""Secret (core/v1): certificates and keys. Its values are never shown: not in `repr`, not in diagnostics."""

from __future__ import annotations

import base64
import binascii
from dataclasses import field
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from dragoman.translators.gateway.models import meta


def _decoded(value: Any) -> bytes:
    if not isinstance(value, str):
        raise PydanticCustomError("base64", "expected text in base64")
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        raise PydanticCustomError("base64", "expected text in base64") from None


@meta.excerpt
class Secret:
    """`string_data` wins over `data`, as in Kubernetes."""

    type: str = "Opaque"
    data: dict[str, Annotated[bytes, BeforeValidator(_decoded)]] = field(default_factory=dict, repr=False)
    string_data: dict[str, str] = field(default_factory=dict, repr=False)

    def value(self, key: str) -> bytes | None:
        """The bytes under `key`."""
        text = self.string_data.get(key)
        return self.data.get(key) if text is None else text.encode(errors="replace")
