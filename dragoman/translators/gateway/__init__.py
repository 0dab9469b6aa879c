"""The native language: Gateway API v1.6 and Dragoman's own kinds.

`decode` validates documents; `wiring` is the part of the graph built from them; each module in between
is one subject: `classes`, `gateways`, `attachment`, `routes_http` (with `matching` and `filters`),
`backends`, `endpoints`, `secrets`, `grants`, `status`. `docs/resources.md` says field by field what is
supported.
"""

from __future__ import annotations

from dragoman.document import Document
from dragoman.graph.collection import Graph
from dragoman.refs import Ref
from dragoman.translators import base
from dragoman.translators.gateway import decode, gateways, wiring

CONTROLLER = "dragoman.dev/gateway-controller"


class Translator:
    """Implements `translators.base.Translator`.

    `controller` is the GatewayClass controllerName that makes Gateways ours. `addresses` says where a
    Gateway is bound that asks for no address of its own (shown in its status); `usable` whether Envoy can
    listen on one that was asked for.
    """

    kinds = decode.KINDS

    def __init__(
        self,
        controller: str = CONTROLLER,
        addresses: gateways.Addresses | None = None,
        usable: gateways.Usable | None = None,
    ) -> None:
        self._controller = controller
        self._addresses = addresses or _nowhere
        self._usable = usable or _anywhere

    def decode(self, document: Document) -> base.Decoded:
        return decode.decode(document)

    def build(self, graph: Graph, objects: base.Objects) -> base.Outputs:
        return wiring.build(
            graph,
            objects,
            controller=self._controller,
            addresses=self._addresses,
            usable=self._usable,
        )


def _nowhere(_: Ref) -> tuple[str, ...]:
    return ()


def _anywhere(_: str) -> bool:
    return True


__all__ = ["CONTROLLER", "Translator"]
