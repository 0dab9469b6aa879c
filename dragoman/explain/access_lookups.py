"""Credentials that are looked up (`ir.lookups`): what a request needs, in words, and whether it brings any.

Nobody is asked about one that is there. Called by `access`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qsl

from dragoman.explain import finding as findings
from dragoman.ir import model as ir

_WORDS: Final = {"introspected": "token", "redis": "API key"}


def brought(finding: findings.Finding, auth: ir.Auth, seen: findings.Seen) -> dict[str, findings.Met]:
    """Kind of credential -> whether there is any. Who brings none that is needed is refused, but where
    requests pass while nobody can be asked."""
    found: dict[str, findings.Met] = {}
    for kind, asked in (("introspected", auth.introspection), ("redis", auth.redis_keys)):
        if asked is None:
            continue
        there = _brings(asked.places, seen) or (kind == "introspected" and bool(seen.claims))
        found[kind] = there
        if not there and not asked.optional and not asked.fail_open:
            finding.refuse(findings.UNAUTHORIZED, "unauthorized", f"there is no {_WORDS[kind]}")
    return found


def needs(
    auth: ir.Auth, brought: dict[str, findings.Met], *, known: bool = False
) -> Iterator[tuple[str, str]]:
    """(what is needed, what the verdict then depends on: "" for nothing). `known`: what a token says is."""
    if auth.introspection is not None:
        asked = auth.introspection
        spared = asked.optional and not brought["introspected"]
        yield (
            f"an active token (introspected at {asked.at}){_unless(asked)}",
            "" if known or spared else f"what {asked.at} says",
        )
    if auth.redis_keys is not None:
        spared = auth.redis_keys.optional and not brought["redis"]
        yield (
            f"an API key that Redis knows{_unless(auth.redis_keys)}",
            "" if spared else "what Redis knows of the API key",
        )


def _unless(asked: ir.Introspection | ir.RedisKeys) -> str:
    optional = ", if it brings any" if asked.optional else ""
    return f"{optional}, unless nobody can be asked" if asked.fail_open else optional


def _brings(places: ir.Places, seen: findings.Seen) -> bool:
    """As the companion looks for it: of a header what stands behind its prefix, and no empty values."""
    for name, prefix in places.headers:
        value = (seen.header(name) or "").strip()
        if value[: len(prefix)].lower() == prefix.lower() and value[len(prefix) :].strip():
            return True
    given = {name for name, value in parse_qsl(seen.prepared.query or "") if value}
    return not given.isdisjoint(places.params) or any(map(seen.cookie, places.cookies))
