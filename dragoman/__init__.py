"""Dragoman, a control plane for Envoy.

People write gateway resources; Dragoman translates them into Envoy's configuration and serves it over xDS.
This module is the public API; importing it is cheap: what it offers is imported at first use.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dragoman.api import Translation, load, translate
    from dragoman.diagnostics import Diagnostic, Severity
    from dragoman.document import Document
    from dragoman.xds.snapshot import Snapshot

__version__ = "0.1.0"

__all__ = [
    "Diagnostic",
    "Document",
    "Severity",
    "Snapshot",
    "Translation",
    "__version__",
    "load",
    "translate",
]

_HOMES = {
    "Diagnostic": "dragoman.diagnostics",
    "Document": "dragoman.document",
    "Severity": "dragoman.diagnostics",
    "Snapshot": "dragoman.xds.snapshot",
    "Translation": "dragoman.api",
    "load": "dragoman.api",
    "translate": "dragoman.api",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)
