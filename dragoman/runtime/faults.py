"""What keeps the control plane from starting, in words that a person can act on."""

from __future__ import annotations

import errno


class StartError(Exception):
    """Nothing runs, and why. `code` is a registered diagnostic code, `help` the hint."""

    def __init__(self, code: str, message: str, help: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.help = help


def cannot_listen(what: str, address: str, port: int, error: OSError, setting: str = "") -> StartError:
    """An address that cannot be listened on; `setting` is the one that moves it."""
    # gRPC gives no errno, only words.
    taken = error.errno == errno.EADDRINUSE or "address already in use" in str(error).lower()
    reason = "the port is in use" if taken else (error.strerror or str(error))
    hints = [f"find who holds it: `ss -ltnp 'sport = :{port}'`"] if taken else []
    if setting:
        hints.append(f"choose another with `{setting}`")
    return StartError("DRG5003", f"{what} cannot listen on {address}:{port}: {reason}", "\n".join(hints))


def cannot_read(error: OSError) -> StartError:
    """A path that was named and is not there."""
    return StartError("DRG5002", f"{error.filename}: {(error.strerror or str(error)).lower()}")
