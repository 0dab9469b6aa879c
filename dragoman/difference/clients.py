"""How clients are dealt with, before and after a change: a line per setting. Called by `behaviour`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dragoman.ir import dump, model as ir


def chain(server: str, was: ir.FilterChain, now: ir.FilterChain) -> Iterator[str]:
    """The settings of one server name. Certificates of both sides are told elsewhere."""
    yield from settings(f"{server}: ", _own(was.client), _own(now.client))
    if was.tls is not None and now.tls is not None:
        yield from settings(f"{server}: tls.", _terms(was.tls), _terms(now.tls))


def settings(start: str, was: object, now: object) -> Iterator[str]:
    """Values of the IR, field by field. What equals its default is not written: it is so by default."""
    old, new = (dict(_flat(dump.plain(one))) for one in (was, now))
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield f"{start}{name} {old.get(name, 'by default')} → {new.get(name, 'by default')}"


def _own(client: ir.ClientSettings) -> ir.ClientSettings:
    """What is told apart from the settings of the port."""
    return replace(client, port=ir.DEFAULT_CLIENTS.port)


def _terms(tls: ir.TlsTermination) -> ir.TlsTermination:
    return replace(tls, certificates=(), clients=None)


def _flat(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _flat(item, f"{path}.{name}" if path else str(name))
    elif path:
        yield path, _word(value)


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "yes" if value == {} else str(value)
