"""ConfigMap (core/v1): where trusted certificates (`ca.crt`) are kept."""

from __future__ import annotations

from dataclasses import field

from dragoman.translators.gateway.models import meta


@meta.excerpt
class ConfigMap:
    data: dict[str, str] = field(default_factory=dict)
