"""`python -m tests.harness.stem FD`: imports Dragoman once, and forks a process of it whenever the socket FD
tells it to. What `warm` starts; it ends when the other end of the socket is closed.

A question is a number (how long the text is) that brings two files along, the output and a pipe, and a text:
JSON of arguments, environment and folder. The answer is the process's id. When the process has ended, its
exit code (-N: by signal N) is written to the pipe.

One thread, so that a fork leaves nothing half done.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
import traceback
from typing import Final, NoReturn

NUMBER: Final = struct.Struct("!i")
_IMPORTED: Final = (
    "dragoman.cli.authz",
    "dragoman.cli.main",
    "dragoman.cli.options",
    "dragoman.cli.render",
    "dragoman.cli.run",
    "dragoman.cli.bootstrap",
    "dragoman.cli.ratelimit",
    "dragoman.config",
    "dragoman.envoy.bootstrap",
    "dragoman.envoy.dump",
    "dragoman.explain",
    "dragoman.garbage",
    "dragoman.ratelimit.following",
    "dragoman.ratelimit.rules",
    "dragoman.ratelimit.server",
    "dragoman.ratelimit.service",
    "dragoman.ratelimit.transport.http2.server",
    "dragoman.runtime",
    "dragoman.runtime.lookups",
    "dragoman.sources.files",
    "dragoman.telemetry.logs",
)


def number(control: socket.socket, begun: bytes = b"") -> int:
    """The next number on the socket; raises `EOFError`."""
    found: int = NUMBER.unpack(begun + _exactly(control, NUMBER.size - len(begun)))[0]
    return found


def _exactly(control: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = control.recv(size - len(found))
        if not part:
            raise EOFError("the other end of the socket is closed")
        found += part
    return found


def _build() -> None:
    """What is built at first use: the pool of descriptors, and the validators of all kinds."""
    from dragoman import document, proto, refs
    from dragoman.translators.gateway import decode

    proto.pool()
    for group, kind in decode.KINDS:
        decode.decode(document.Document(refs.Ref(group, kind, "", "x"), {"spec": {}}))


def _serve(control: socket.socket) -> None:
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends when the tests do
    pipes: dict[int, int] = {}
    while True:
        ready = select.select([control, woken], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
            _tell(pipes)
        if control not in ready:
            continue
        head, files, _, _ = socket.recv_fds(control, NUMBER.size, 2)
        if not head:
            return
        output, pipe = files
        text = _exactly(control, number(control, head))
        pid = os.fork()
        if pid == 0:
            for end in (woken, wakes, pipe, *pipes.values()):
                os.close(end)
            control.close()
            _become(output, *json.loads(text))
        os.close(output)
        pipes[pid] = pipe
        control.sendall(NUMBER.pack(pid))


def _tell(pipes: dict[int, int]) -> None:
    """Says of all that have ended how they did."""
    while pipes:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        pipe = pipes.pop(pid)
        try:
            os.write(pipe, NUMBER.pack(os.waitstatus_to_exitcode(status)))
        except BrokenPipeError:
            pass  # nobody wants to know
        os.close(pipe)


def _become(output: int, arguments: list[str], environment: dict[str, str], folder: str) -> NoReturn:
    """The command, in a process that looks as if it had been started for it."""
    code = 2
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.close(output)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        sys.argv = ["dragoman", *arguments]
        from dragoman.cli import main

        main.main()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def main() -> None:
    # As `dragoman.cli.main` does it.
    gc.disable()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    for name in _IMPORTED:
        importlib.import_module(name)
    _build()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        _serve(control)


if __name__ == "__main__":
    main()
