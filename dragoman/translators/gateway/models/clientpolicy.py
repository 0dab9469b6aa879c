"""ClientPolicy (dragoman.dev/v1alpha1): how clients are dealt with, at Gateways and listeners."""

from __future__ import annotations

from dragoman.translators.gateway.models import meta, policy


@meta.shape
class ClientPolicy(policy.Policy):
    """ClientPolicySpec."""
