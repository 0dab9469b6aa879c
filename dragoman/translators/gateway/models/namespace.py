"""Namespace (core/v1): only its labels matter, and those are metadata."""

from __future__ import annotations

from dragoman.translators.gateway.models import meta


@meta.excerpt
class Namespace:
    """Nothing of the body is read."""
