"""Just enough HTTP/2, gRPC and protobuf for a client that simulates a thousand proxies in one process.

A real gRPC client costs more than the server it is to measure. Requests are bytes made in advance, header
blocks without Huffman coding or table, and of a response only two fields are read (both responses give
`type_url`, 4, and `nonce`, 5). Peers' flow control windows are opened wide once and topped up.
"""

from __future__ import annotations

from collections.abc import Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def hello(method: str) -> bytes:
    """Preface, settings, a wide window, and the headers of the one stream (id 1)."""
    settings = b"\x00\x04" + (2**30).to_bytes(4, "big")  # SETTINGS_INITIAL_WINDOW_SIZE
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", ADS + method),
        (":authority", "127.0.0.1"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in headers)
    opened = frame(SETTINGS, 0, 0, settings) + frame(WINDOW, 0, 0, (2**30).to_bytes(4, "big"))
    return PREFACE + opened + frame(HEADERS, 4, 1, block)


def _text(value: str) -> bytes:
    raw = value.encode()
    assert len(raw) < 127
    return bytes([len(raw)]) + raw


def message(payload: bytes) -> bytes:
    """A gRPC message."""
    return b"\x00" + len(payload).to_bytes(4, "big") + payload


def frames(data: bytes) -> Iterator[bytes]:
    """DATA frames of the size that every peer takes."""
    for at in range(0, len(data), 16384):
        yield frame(DATA, 0, 1, data[at : at + 16384])


def initial_window(settings: bytes) -> int:
    """What a SETTINGS frame says of new streams' windows."""
    for at in range(0, len(settings), 6):
        if settings[at : at + 2] == b"\x00\x04":
            return int.from_bytes(settings[at + 2 : at + 6], "big")
    return 65535


# --- protobuf -----------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(number: int, value: str | bytes) -> bytes:
    """A length-delimited field: string, bytes or message."""
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(number, payload) of length-delimited fields; the others are skipped."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 2:
            size, at = _varint(data, at)
            yield tag >> 3, data[at : at + size]
            at += size
        elif kind == 0:
            _, at = _varint(data, at)
        else:
            at += 8 if kind == 1 else 4


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def node(number: int, group: str = "*") -> bytes:
    """`Node`: id and cluster. The cluster tells the group."""
    return text(1, f"proxy-{number}") + text(2, group)


def delta_subscribe(type_url: str, names: tuple[str, ...], who: bytes = b"") -> bytes:
    """A DeltaDiscoveryRequest. No names: a wildcard subscription."""
    return (text(1, who) if who else b"") + text(2, type_url) + b"".join(text(3, name) for name in names)


def delta_ack(type_url: bytes, nonce: bytes) -> bytes:
    return text(2, type_url) + text(6, nonce)


def sotw_subscribe(type_url: str, names: tuple[str, ...], who: bytes = b"") -> bytes:
    """A DiscoveryRequest."""
    return (text(2, who) if who else b"") + b"".join(text(3, name) for name in names) + text(4, type_url)


def sotw_ack(type_url: bytes, nonce: bytes, version: bytes, names: tuple[str, ...]) -> bytes:
    return text(1, version) + b"".join(text(3, name) for name in names) + text(4, type_url) + text(5, nonce)
