"""Consumers that records of API keys may name: the newest that was told. Called by `service`."""

from __future__ import annotations

from collections.abc import Iterable

from dragoman.ir import model as ir


class Members:
    """Clients by namespace and name. They are told in parts; those that stay the same are not read again."""

    def __init__(self) -> None:
        self._parts: dict[int, tuple[ir.Members, dict[str, ir.Client]]] = {}
        self._namespaces: dict[str, list[dict[str, ir.Client]]] = {}

    def load(self, told: Iterable[ir.Members]) -> None:
        """All parts that there are from now on."""
        parts: dict[int, tuple[ir.Members, dict[str, ir.Client]]] = {}
        self._namespaces = {}
        for one in told:
            # It is kept beside the names, so no other can have its place in memory.
            part = self._parts.get(id(one)) or (one, {client.id: client for client in one.clients})
            parts[id(one)] = part
            self._namespaces.setdefault(one.namespace, []).append(part[1])
        self._parts = parts

    def get(self, namespace: str, name: str) -> ir.Client | None:
        """The Consumer of that name, if there is one."""
        found = (part.get(name) for part in self._namespaces.get(namespace, ()))
        return next((one for one in found if one is not None), None)
