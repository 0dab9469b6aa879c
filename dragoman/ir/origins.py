"""Origins as browsers write them, and those with a `*` as regular expressions (RE2), for CORS and CSRF.

Envoy takes no expression of more than a hundred instructions, so translators look at them before they
are sent. Used by `envoy` (`cors`, `csrf`, `fallbacks`) and by the rules of what people write.
"""

from __future__ import annotations

import re
from typing import Final

_LABELS: Final = "[^/:]+"
_HOST: Final = rf"(?:\[[^/\]]+\]|{_LABELS})"
"""An IPv6 address has brackets, and colons within."""
_KNOWN: Final = {"http": ":80", "https": ":443"}


def canonical(origin: str) -> str:
    """As browsers write it: in lower case, and without the port that the scheme has anyway."""
    scheme, found, host = origin.lower().partition("://")
    return f"{scheme}{found}{host.removesuffix(_KNOWN.get(scheme, ''))}"


def expression(origin: str) -> str:
    """Matches whole origins as `origin` wants them, whose `*` stands for labels: they end at the port, which
    is another origin's if it is another. What stands before the `*` costs no instructions, behind `^`."""
    alone = origin.rpartition("://")[2].partition(":")[0] == "*"
    return "^" + (_HOST if alone else _LABELS).join(map(re.escape, origin.split("*")))
