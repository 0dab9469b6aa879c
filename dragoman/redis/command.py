"""Commands in Redis' protocol (RESP), and scripts that Redis runs. Used by links and by what counts there."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def bulk(*words: bytes) -> bytes:
    """A command in Redis' protocol (RESP)."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


class Script:
    """One script in Lua. `digest` is what EVALSHA calls it by."""

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        self.digest = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()

    def call(self, keys: Sequence[bytes], arguments: Sequence[bytes], *, whole: bool = False) -> bytes:
        """The command that runs the script. `whole` sends its text along: Redis may have lost it."""
        head = (b"EVAL", self.text) if whole else (b"EVALSHA", self.digest)
        return bulk(*head, b"%d" % len(keys), *keys, *arguments)

    def load(self) -> bytes:
        """The command that tells Redis the script."""
        return bulk(b"SCRIPT", b"LOAD", self.text)
