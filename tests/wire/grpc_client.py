"""grpcio's xDS client, which reads its bootstrap when it starts: `test_grpc_client` runs this as a process.

Reads target lines from stdin and answers each with what one unary call to `xds:///<target>` brought.
"""

from __future__ import annotations

import sys

import grpc


def main() -> None:
    channels: dict[str, grpc.Channel] = {}
    for line in sys.stdin:
        target = line.strip()
        if target not in channels:
            channels[target] = grpc.insecure_channel(f"xds:///{target}")
        call = channels[target].unary_unary("/echo.Echo/Name")
        try:
            print(call(b"", timeout=10, wait_for_ready=True).decode(), flush=True)
        except grpc.RpcError as failure:
            print(f"{failure.code().name} {failure.details()}".replace("\n", " "), flush=True)


if __name__ == "__main__":
    main()
