"""What keeps the control plane from starting, in words that a person can act on."""

from __future__ import annotations

import errno
import socket


class StartError(Exception):
    """Nothing runs, and why. `code` is a registered diagnostic code, `help` the hint."""

    def __init__(self, code: str, message: str, help: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.help = help


def cannot_listen(what: str, address: str, port: int, error: OSError, setting: str = "") -> StartError:
    """An address that cannot be listened on; `setting` is the one that moves it."""
    taken = error.errno == errno.EADDRINUSE
    reason = "the port is in use" if taken else (error.strerror or str(error))
    hints = [f"find who holds it: `ss -ltnp 'sport = :{port}'`"] if taken else []
    if setting:
        hints.append(f"choose another with `{setting}`")
    return StartError("DRG5003", f"{what} cannot listen on {address}:{port}: {reason}", "\n".join(hints))


def cannot_read(error: OSError) -> StartError:
    """A path that was named and is not there."""
    return StartError("DRG5002", f"{error.filename}: {(error.strerror or str(error)).lower()}")


def probe(address: str, port: int) -> None:
    """Raises the `OSError` that listening would give. gRPC's own says nothing of the reason, and prints to
    stderr.
    """
    if address.startswith("unix:") or port == 0:
        return
    family, _, _, _, place = socket.getaddrinfo(
        address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind(place)
