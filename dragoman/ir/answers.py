"""What those get who may not pass, in other words than ours. Part of `ir.model`.

Texts have placeholders (`PLACEHOLDERS`; a literal `%` is `%%`). None of them stands for anything that a
client brought as a credential, so no answer can give one away.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

ERRORS: Final = (
    *("unauthorized", "token_expired", "invalid_token", "invalid_key", "invalid_credentials"),
    *("insufficient_scope", "forbidden", "unavailable"),
)
"""What an answer says of why, in `error`."""

EVERYWHERE: Final = ("ERROR", "MESSAGE", "STATUS", "REQUIRED_SCOPES")
"""Placeholders for what the gateway says: in any text."""
IN_JSON: Final = ("CURRENT_SCOPES", "METHOD", "HOST", "PATH", "REQUEST_ID", "TIME")
"""Placeholders for what the client says, in JSON alone, where they are escaped: a page would show what others
wrote into a link. The path comes without its query, which may hold keys."""
PLACEHOLDERS: Final = (*EVERYWHERE, *IN_JSON)

TOKEN: Final = re.compile(r"%(?:([A-Z_]+)%|(%)|)")
"""A placeholder, a literal `%`, or (both groups empty) a stray one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Instead of the usual answer with this `error`. `status` 0: as usual. `body` None: none; as `json` an
    object. `headers` beside the content type."""

    error: str
    status: int = 0
    body: str | None = None
    json: bool = False
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()
