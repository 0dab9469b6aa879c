"""A thin HTTP/2 server for unary gRPC calls (RFC 9113, gRPC's PROTOCOL-HTTP2.md).

`connection` is the state machine, without I/O; `server` is the asyncio shell around it. `frames`, `hpack`,
`huffman`, `head`, `answers` and `flood` are its parts. What it leaves out on purpose: streaming calls,
server push, priorities, compression, and an HPACK encoder with memory.
"""

from dragoman.ratelimit.transport.http2.server import Server

__all__ = ["Server"]
