"""The algebra of host names: exact (`shop.example`), wildcard (`*.example`), or any (`*`).

A wildcard stands for one or more labels (Gateway API, Hostname; Envoy's suffix domains agree). All names
are lower case, without port and without trailing dot.
"""

from __future__ import annotations

from collections.abc import Iterable

ANY = "*"


def covers(wide: str, narrow: str) -> bool:
    """Whether every host that `narrow` stands for is one that `wide` stands for."""
    if wide in (ANY, "") or wide == narrow:
        return True
    if narrow in (ANY, ""):
        return False
    if wide.startswith("*."):
        return narrow.endswith(wide[1:]) and len(narrow) > len(wide) - 1
    return False


def intersect(left: str, right: str) -> str | None:
    """The narrower of two host names if they overlap, else None."""
    if covers(left, right):
        return right or ANY
    if covers(right, left):
        return left
    return None


def specificity(hostname: str) -> tuple[int, int]:
    """Sorts the most specific first: exact names, then wildcards by length, then any."""
    if hostname in (ANY, ""):
        return (2, 0)
    if hostname.startswith("*."):
        return (1, -len(hostname))
    return (0, 0)


def best(hostnames: Iterable[str], host: str) -> str | None:
    """The most specific of `hostnames` that covers `host`."""
    return min((name for name in hostnames if covers(name, host)), key=specificity, default=None)
