"""Findings to show, and a locator over one text."""

from __future__ import annotations

from dragoman.diagnostics import Diagnostic, Locate, Severity, Span
from dragoman.refs import FieldPath, Origin, Ref

CART = Ref("gateway.networking.k8s.io", "HTTPRoute", "shop", "cart")
ORIGIN = Origin(CART, ("spec", "rules", 0, "backendRefs", 1, "port"))
LINE = "    - {name: checkout, port: 80800}"


def finding(
    message: str = "the port is out of range",
    *,
    code: str = "DRG1104",
    ref: Ref | None = CART,
    path: FieldPath = ORIGIN.path,
    severity: Severity = Severity.ERROR,
    label: str = "",
    notes: tuple[str, ...] = (),
    help: str = "",
    span: Span | None = None,
) -> Diagnostic:
    return Diagnostic(code, message, ref, path, severity, label, notes, help, span)


def spot(text: str = LINE, marked: str = "80800", *, file: str = "shop/routes.yaml", line: int = 12) -> Span:
    """The span of a word in a line."""
    column = text.index(marked) + 1
    return Span(file, line, column, column + len(marked), text)


def everywhere(span: Span | None) -> Locate:
    """A locator that knows one place."""
    return lambda ref, path: span
