"""Two tiny backends in their own process, so that measuring and answering share no event loop.

Run as `python -m benchmarks.answering`; prints the two ports. The answers carry `x-pod: one` and `x-pod:
two`.
"""

from __future__ import annotations

import asyncio
import sys

from tests.harness.backend import Backend
from tests.harness.echo import Echo, Identity


async def main() -> None:
    backends = [Backend(Echo(Identity(name))) for name in ("one", "two")]
    for backend in backends:
        await backend.start()
    print(*(backend.port for backend in backends), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for backend in backends:
        await backend.stop()


if __name__ == "__main__":
    asyncio.run(main())
