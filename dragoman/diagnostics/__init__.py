"""Diagnostics: what is wrong, where, why, and what to do about it.

`model` holds the values, `codes` the registry, and `text`, `sarif`, `data` the forms in which a report
is shown. Everyone above may import this package; it imports only `dragoman.refs`.
"""

from dragoman.diagnostics.model import Diagnostic, Locate, Report, Severity, Span, error, warning

__all__ = ["Diagnostic", "Locate", "Report", "Severity", "Span", "error", "warning"]
