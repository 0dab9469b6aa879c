"""Answers one request on a unix socket, and ends: `python3 once.py /tmp/dragoman-example.sock`."""

from __future__ import annotations

import http.server
import socketserver
import sys
from pathlib import Path


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b"answered over a unix socket\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        """Says nothing."""


if __name__ == "__main__":
    path = sys.argv[1]
    with socketserver.UnixStreamServer(path, Handler) as server:
        server.handle_request()
    Path(path).unlink()
