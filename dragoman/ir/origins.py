"""Origins and hosts with a `*` in them as regular expressions (RE2), for CORS and CSRF.

Envoy takes no expression of more than a hundred instructions, so translators look at them before they
are sent. Used by `envoy` (`cors`, `csrf`, `fallbacks`) and by the rules of what people write.
"""

from __future__ import annotations

import re


def expression(origin: str) -> str:
    """Matches whole origins as `origin` wants them, whose `*` stands for labels: they end at the port, so
    no slash may be among them. What stands before the `*` costs no instructions, behind `^`."""
    return "^" + "[^/]+".join(map(re.escape, origin.split("*")))
