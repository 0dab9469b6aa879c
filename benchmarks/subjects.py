"""Token subjects, for `clients`: a Consumer for each subject, and one group that is let in, which one of them
leaves."""

from __future__ import annotations

from typing import Final

from benchmarks import clients, worlds
from tests.harness import manifests, tokens

_EXPIRES: Final = 4_000_000_000
_ISSUER: Final = "https://issuer.example"


def kind() -> clients.Kind:
    issuer = tokens.Issuer(_ISSUER)
    provider = {"name": "main", "issuer": _ISSUER, "audiences": ["shop"], "jwks": {"inline": issuer.jwks}}
    jwt = {"consumerClaim": "sub", "providers": [provider]}

    def header(number: int, at: int) -> str:
        return f"authorization: Bearer {issuer.token(sub=_name(number, at), aud='shop', exp=_EXPIRES)}"

    return clients.Kind(
        "Token subjects: one client among N leaves its group",
        "clients",
        "its file to the first 403",
        b"403",
        clients.policy(jwt=jwt, rules={"allow": [{"groups": ["staff"]}]}),
        _bundle,
        header,
    )


def _bundle(number: int, count: int, gone: int) -> list[manifests.Body]:
    """A hundred Consumers; the first `gone` are in no group."""
    return [
        {
            "apiVersion": "dragoman.dev/v1alpha1",
            "kind": "Consumer",
            "metadata": {"name": _name(number, at), "namespace": worlds.NAMESPACE},
            "spec": {
                "tokens": [{"issuer": _ISSUER, "value": _name(number, at)}],
                "groups": ["former" if at < gone else "staff"],
                "plan": "gold",
            },
        }
        for at in range(min(clients.EACH, count))
    ]


def _name(number: int, at: int) -> str:
    return f"client-{number:06}-{at:03}"
