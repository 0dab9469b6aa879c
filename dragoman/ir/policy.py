"""What policies leave in the IR beside their effects: who said what, for `explain`.

Part of `ir.model`, which has all of these names.
"""

from __future__ import annotations

from typing import NamedTuple

from dragoman.refs import Origin


class Said(NamedTuple):
    """One field of a policy that is in force: `timeouts.request`, its value in words, and the policy's
    field."""

    name: str
    value: str
    origin: Origin
