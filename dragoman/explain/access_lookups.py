"""What a request needs where credentials are looked up (`ir.lookups`), in words. Called by `access`."""

from __future__ import annotations

from collections.abc import Iterator

from dragoman.ir import model as ir


def needs(auth: ir.Auth, *, known: bool = False) -> Iterator[tuple[str, str]]:
    """(what is needed, what the verdict then depends on). `known`: what a token says is."""
    if auth.introspection is not None:
        asked = auth.introspection
        optional = ", if it brings any" if asked.optional else ""
        yield (
            f"an active token (introspected at {asked.at}){optional}{_open(asked)}",
            "" if known else f"what {asked.at} says",
        )
    if auth.redis_keys is not None:
        optional = ", if it brings any" if auth.redis_keys.optional else ""
        yield (
            f"an API key that Redis knows{optional}{_open(auth.redis_keys)}",
            "what Redis knows of the API key",
        )


def _open(asked: ir.Introspection | ir.RedisKeys) -> str:
    return ", unless nobody can be asked" if asked.fail_open else ""
