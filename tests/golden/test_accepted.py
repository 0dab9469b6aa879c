"""Every golden snapshot is taken by the real Envoy, and read without loss by another decoder.

The other decoder is `envoy-data-plane` (betterproto2, its own generator, its own descriptors): it shares no
code with protobuf, nor with the descriptors that `dragoman.proto` reads out of the binary.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from dragoman import resource
from dragoman.envoy import framing, validate
from tests.golden import golden

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pydantic, in generated code

LACKING: Final[dict[str, str]] = {
    "LocalRateLimit.19": "`enable_retry_after_header` is newer than that package",
    "CompressorCommonDirectionConfig.4": "`content_type_matcher` is newer than that package",
    "LocalResponsePolicy.6": "so is `response_code_details`",
    "Lua.9": "so is `shared_vm_id`",
    "OAuth2Config.34": "and `token_cookie_chunking`",
    "BasicAuthPerRoute.2": "and `realm`",
    "HttpConnectionManagerSetCurrentClientCertDetails.8": "`issuer` is newer than that package",
    "xds.type.matcher.v3.CelMatcher": "so is that matcher",
    "xds.type.matcher.v3.HttpAttributesCelMatchInput": "and what it looks at",
    "envoy.extensions.filters.http.body_size_limit.v3.BodySizeLimit": "so is the filter",
}
"""Message and field number, or a whole extension -> why the other decoder does not know it."""


@pytest.mark.envoy
@pytest.mark.parametrize("folder", golden.FOLDERS)
def test_envoy_takes_it(folder: str, envoy_binary: Path) -> None:
    assert validate.check(golden.load(folder).resources, envoy_binary) == []


def test_another_decoder_reads_everything() -> None:
    pytest.importorskip("envoy_data_plane", reason="envoy-data-plane is not installed")
    unknown: dict[str, str] = {}
    read = 0
    for folder in golden.FOLDERS:
        for item in golden.load(folder).resources:
            message = decode(item.type_url, item.payload)
            unknown.update(dict.fromkeys(unknown_fields(message), f"{folder} {item.name}"))
            read += len(item.payload)
    assert read > 0
    assert unknown.keys() == LACKING.keys(), unknown


def test_it_would_tell() -> None:
    """A field that nobody knows is found, however deep."""
    pytest.importorskip("envoy_data_plane", reason="envoy-data-plane is not installed")
    inner = framing.frame(b"\xfa\x3f", b"x")  # field 1023
    route = framing.frame(framing.tag("envoy.config.route.v3.VirtualHost", "routes"), inner)
    host = framing.frame(framing.tag("envoy.config.route.v3.RouteConfiguration", "virtual_hosts"), route)
    assert list(unknown_fields(decode(resource.ROUTE, host))) == ["Route.1023"]


def decode(type_url: str, payload: bytes) -> Any:
    """A message of the other implementation."""
    return message_type(type_url).parse(payload)


@functools.cache
def message_type(type_url: str) -> Any:
    """`.../envoy.config.cluster.v3.Cluster` is `envoy_data_plane.envoy.config.cluster.v3.Cluster` there."""
    package, _, name = type_url.rpartition("/")[2].rpartition(".")
    module = importlib.import_module(f"envoy_data_plane.{package}")
    # Initials are spelled differently there: HTTPFault is HttpFault.
    return next(getattr(module, one) for one in dir(module) if one.lower() == name.lower())


def unknown_fields(message: Any) -> Iterator[str]:
    """`Message.number` of every field that was left over, through all submessages and `Any`s."""
    for number in field_numbers(message._unknown_fields):
        yield f"{type(message).__name__}.{number}"
    for field in dataclasses.fields(message):
        yield from _within(getattr(message, field.name))


def _within(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _within(item)
    elif isinstance(value, dict):
        yield from _within(list(value.values()))
    elif type(value).__name__ == "Any":
        name = value.type_url.rpartition("/")[2]
        if name in LACKING:
            yield name
        elif name:  # there is none where a route wakes a filter as it is
            yield from unknown_fields(decode(value.type_url, value.value))
    elif dataclasses.is_dataclass(value):
        yield from unknown_fields(value)


def field_numbers(data: bytes) -> Iterator[int]:
    """The field numbers in raw protobuf."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        yield tag >> 3
        match tag & 7:
            case 0:
                _, at = _varint(data, at)
            case 1:
                at += 8
            case 2:
                length, at = _varint(data, at)
                at += length
            case 5:
                at += 4
            case other:
                raise ValueError(f"wire type {other}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
