"""API keys, for `clients`: Consumers with a hundred keys each, one of which is taken out of its Secret."""

from __future__ import annotations

from benchmarks import clients, worlds
from tests.harness import manifests


def kind() -> clients.Kind:
    return clients.Kind(
        "API keys: one among N is revoked",
        "keys",
        "its Secret's file to the first 401",
        b"401",
        clients.policy(apiKeys={}),
        _bundle,
        lambda number, at: f"x-api-key: {_key(number, at)}",
    )


def _bundle(number: int, count: int, revoked: int) -> list[manifests.Body]:
    """A Consumer with its keys, but for the first `revoked`."""
    about = {"name": f"c{number}", "namespace": worlds.NAMESPACE}
    keys = {f"k{at}": _key(number, at) for at in range(revoked, min(clients.EACH, count))}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": about, "stringData": keys},
        {
            "apiVersion": "dragoman.dev/v1alpha1",
            "kind": "Consumer",
            "metadata": about,
            "spec": {"apiKeys": [{"name": f"c{number}"}], "groups": ["staff"], "plan": "gold"},
        },
    ]


def _key(number: int, at: int) -> str:
    return f"key-{number:06}-{at:03}-0123456789abcdef"
