"""What listeners that share something in Envoy cannot have each in its own way, and who is told.

All plain-HTTP listeners of a port share one connection manager, whatever their host names; TLS listeners of
one host name share a filter chain; PROXY headers come before anything that tells listeners apart, so they are
a matter of the port. The oldest listener's settings hold. Listeners that agree are told nothing; one whose
policy says something else is told, and so is a policy that comes to hold for listeners it is not for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dragoman.diagnostics import Diagnostic, warning
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref

if TYPE_CHECKING:
    from dragoman.graph.pipeline import binds

_PORT: Final = ("proxyProtocol", "connections.bufferBytes")
"""What holds for a whole port: names of fields or of sections."""
_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Way:
    """A listener gives way to another. `lost`: what its policies say and does not hold; `taken`: what those
    of the other say and holds here too."""

    winner: Ref
    name: str
    lost: tuple[ir.Said, ...]
    taken: tuple[ir.Said, ...]


@dataclass(frozen=True, slots=True)
class Compromise:
    """What one listener does not have as its policies say. `datagrams`: who has the UDP port."""

    place: ir.Bind
    gateway: Ref
    name: str
    ways: tuple[Way, ...]
    datagrams: tuple[Ref, str] | None = None
    http3: tuple[ir.Said, ...] = ()


def between(
    member: binds.Member,
    head: binds.Member | None,
    leader: binds.Member | None,
    datagrams: binds.Member | None,
    place: ir.Bind,
) -> Compromise | None:
    """`head` has the filter chain, `leader` the port; `datagrams` has the UDP port where `member` wants
    HTTP/3."""
    ways: list[Way] = []
    own = member.listener.client.port
    if leader is not None and leader.listener.client.port != own:
        ways.append(_way(member, leader, port=True))
    if head is not None and head.shares != member.shares:
        ways.append(_way(member, head, port=False))
    found = tuple(way for way in ways if way.lost or way.taken)
    if not found and datagrams is None:
        return None
    return Compromise(
        place,
        member.gateway,
        member.listener.name,
        found,
        (datagrams.gateway, datagrams.listener.name) if datagrams is not None else None,
        tuple(one for one in member.listener.said if one.name.startswith("http3.")),
    )


def _way(member: binds.Member, other: binds.Member, *, port: bool) -> Way:
    own = [one for one in member.listener.said if one.name.startswith(_PORT) is port]
    theirs = [one for one in other.listener.said if one.name.startswith(_PORT) is port]
    same = {(one.name, one.value) for one in theirs}
    names = {one.name for one in own}
    return Way(
        other.gateway,
        other.listener.name,
        tuple(one for one in own if (one.name, one.value) not in same),
        tuple(one for one in theirs if one.name not in names),
    )


def diagnostics(found: Iterable[Compromise]) -> Iterator[Diagnostic]:
    """What to say about all of them: once per field, with the listeners that it is about."""
    lost: dict[tuple[Origin, str], list[str]] = {}
    taken: dict[tuple[Origin, str], list[str]] = {}
    for one in found:
        who = f"`{one.name}` of {one.gateway}"
        for way in one.ways:
            for said in way.lost:
                winner = f"listener `{way.name}` of {way.winner}"
                lost.setdefault((said.origin, f"{one.place.port}, {winner}"), []).append(who)
            for said in () if way.lost else way.taken:
                taken.setdefault((said.origin, str(one.place.port)), []).append(who)
        if one.datagrams is not None and one.http3:
            ref, name = one.datagrams
            message = (
                f"listener {who} has no HTTP/3: listener `{name}` of {ref} has UDP port {one.place.port}"
            )
            yield warning("DRG1652", message, one.http3[0].origin, label="no effect here")
    for (origin, about), who_all in lost.items():
        port, winner = about.split(", ", 1)
        message = f"this does not hold for listener {_listed(who_all)}: it shares port {port} with {winner}"
        hint = "target the Gateway, or give the listener a port of its own"
        yield warning("DRG3902", message, origin, label="no effect here", help=hint)
    for (origin, port), who_all in taken.items():
        message = f"this holds for listener {_listed(who_all)} as well, which shares port {port}"
        yield warning("DRG3902", message, origin, help="target the Gateway to say that it is meant so")


def _listed(names: list[str]) -> str:
    unique = sorted(set(names))
    more = f" and {len(unique) - _NAMED} more" if len(unique) > _NAMED else ""
    return ", ".join(unique[:_NAMED]) + more


def overridden(found: Iterable[Compromise]) -> dict[Ref, list[str]]:
    """Policy -> the fields of it that do not hold somewhere."""
    fields: dict[Ref, set[str]] = {}
    for one in found:
        for way in one.ways:
            for said in way.lost:
                fields.setdefault(said.origin.ref, set()).add(said.name)
    return {ref: sorted(names) for ref, names in fields.items()}
