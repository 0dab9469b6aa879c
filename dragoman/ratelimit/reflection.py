"""gRPC reflection: `grpcurl` and the like learn the service's methods and messages from the service.

The descriptors are Envoy's own, out of `dragoman.proto`'s pool. Reflection's messages are not among them;
they are a handful of fields, read and written here by hand (grpc/reflection/v1/reflection.proto; v1alpha is
the same on the wire). The server adds `streams` to a transport that can stream.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Any, Final

from dragoman import proto
from dragoman.proto import varint
from dragoman.ratelimit import wire
from dragoman.ratelimit.transport import base as transport

METHODS: Final = tuple(
    f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo" for version in ("v1", "v1alpha")
)

LARGEST: Final = 4096
"""Bytes of a request: a name in it."""

# Fields of ServerReflectionRequest.
_FILE, _SYMBOL, _EXTENSION, _EXTENSIONS, _LIST = 3, 4, 5, 6, 7
_NAMES: Final = (1, _FILE, _SYMBOL, _EXTENSION, _EXTENSIONS, _LIST)

# Tags of ServerReflectionResponse's fields, all of them length-delimited.
_VALID_HOST, _ORIGINAL, _FILES, _NUMBERS, _SERVICES, _ERROR = 0x0A, 0x12, 0x22, 0x2A, 0x32, 0x3A

_LAST_FIELD: Final = 2**29 - 1


class Reflection:
    """Tells of the services whose methods (full paths) are given, and of itself."""

    def __init__(self, methods: Iterable[str]) -> None:
        self.services = sorted({path.split("/")[1] for path in (*methods, *METHODS)})

    def streams(self) -> transport.StreamHandlers:
        return dict.fromkeys(METHODS, self.stream)

    async def stream(
        self, requests: AsyncIterator[bytes], peer: transport.Peer
    ) -> AsyncGenerator[bytes, None]:
        """ServerReflectionInfo: an answer for each question."""
        async for request in requests:
            yield self.answer(request)

    def answer(self, request: bytes) -> bytes:
        """A ServerReflectionResponse; raises StatusError for what is no request."""
        try:
            host, kind, value = _parse(request)
        except (IndexError, UnicodeDecodeError, ValueError):
            status = transport.Status(transport.Code.INVALID_ARGUMENT, "no ServerReflectionRequest")
            raise transport.StatusError(status) from None
        head = (wire.field(_VALID_HOST, host) if host else b"") + wire.field(_ORIGINAL, request)
        return head + self._found(kind, value)

    def _found(self, kind: int, value: str) -> bytes:
        if kind == _LIST:
            names = (wire.field(0x0A, wire.field(0x0A, name.encode())) for name in self.services)
            return wire.field(_SERVICES, b"".join(names))
        pool = proto.pool()
        try:
            if kind == _FILE:
                return _files(pool.FindFileByName(value))
            if kind == _SYMBOL:
                return _files(_file_of(pool, value))
            if kind == _EXTENSIONS:
                pool.FindMessageTypeByName(value)
                # None: what extends options in these files is no business of who calls the service.
                return wire.field(_NUMBERS, wire.field(0x0A, value.encode()))
        except KeyError:
            return _error(transport.Code.NOT_FOUND, "not found")
        if kind == _EXTENSION:
            return _error(transport.Code.NOT_FOUND, "not found")
        return _error(transport.Code.INVALID_ARGUMENT, "nothing is asked")


def _error(code: transport.Code, message: str) -> bytes:
    return wire.field(_ERROR, bytes((8, code)) + wire.field(0x12, message.encode()))


def _file_of(pool: Any, symbol: str) -> Any:
    """Raises KeyError."""
    try:
        return pool.FindFileContainingSymbol(symbol)
    except KeyError:
        return pool.FindMethodByName(symbol).containing_service.file


def _files(file: Any) -> bytes:
    """The file and all that it builds on, once each, in an order in which they can be read."""
    found: dict[str, bytes] = {}

    def add(each: Any) -> None:
        if each.name not in found:
            for dependency in each.dependencies:
                add(dependency)
            found[each.name] = each.serialized_pb

    add(file)
    # The one that was asked for comes first: that is what clients read.
    wanted = found.pop(file.name)
    return wire.field(_FILES, b"".join(wire.field(0x0A, each) for each in (wanted, *found.values())))


def _parse(request: bytes) -> tuple[bytes, int, str]:
    """Host, which question, and its text. Raises IndexError or ValueError for what is no such message."""
    if len(request) > LARGEST:
        raise ValueError
    host, kind, value, at = b"", 0, "", 0
    while at < len(request):
        tag, at = varint.read(request, at)
        if tag & 7 != 2 or not 0 < tag >> 3 <= _LAST_FIELD:
            raise ValueError
        size, at = varint.read(request, at)
        content, at = request[at : at + size], at + size
        if at > len(request):
            raise ValueError
        if tag >> 3 == 1:
            host = content.decode().encode()
        elif tag >> 3 == _EXTENSION:
            _check_extension(content)
            kind, value = _EXTENSION, ""  # none is found in any case
        elif tag >> 3 in _NAMES:
            kind, value = tag >> 3, content.decode()
    return host, kind, value


def _check_extension(content: bytes) -> None:
    """ExtensionRequest: a type's name and a number. The question is sent back as it came, so it must be
    well formed. Raises as `_parse` does."""
    at = 0
    while at < len(content):
        tag, at = varint.read(content, at)
        if tag == 0x10:
            _, at = varint.read(content, at)
            continue
        if tag != 0x0A:
            raise ValueError
        size, at = varint.read(content, at)
        name, at = content[at : at + size], at + size
        if at > len(content):
            raise ValueError
        name.decode()
