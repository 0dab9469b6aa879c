"""Texts that are none, in messages of Envoy."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from dragoman import proto
from dragoman.proto import texts, varint
from dragoman.proto.envoy.service.auth import v3 as auth
from dragoman.proto.envoy.service.ratelimit import v3 as rls
from dragoman.proto.google.protobuf import Value

CheckRequest, RateLimitRequest = auth.CheckRequest, rls.RateLimitRequest


def _asked(value: str) -> auth.CheckRequest:
    """Texts at several depths, in lists and maps, beside fields of every other kind."""
    made = auth.CheckRequest()
    at = made.attributes
    at.source.address.socket_address.address, at.source.address.socket_address.port_value = value, 80
    at.request.time.seconds, at.request.time.nanos = 1 << 40, 5
    http = at.request.http
    http.headers["x-one"], http.headers["x-two"] = value, "plain"
    http.size, http.raw_body = -1, b"\xff\x00"
    at.context_extensions[value] = "key"
    fields = at.metadata_context.filter_metadata["a"].fields
    fields["number"].number_value = 1.5
    fields["list"].list_value.values.add().string_value = value
    return made


@given(st.binary(min_size=8, max_size=40))
def test_what_is_no_text_is_replaced_and_nothing_else(odd: bytes) -> None:
    sent = proto.serialize(_asked("~" * len(odd))).replace(b"~" * len(odd), odd)
    assert texts.parse(CheckRequest, sent) == _asked(odd.decode(errors="replace"))


@given(st.binary(max_size=60))
def test_what_is_no_message_is_none(data: bytes) -> None:
    try:
        found = texts.parse(RateLimitRequest, data)
    except proto.DecodeError:
        return
    again = proto.serialize(found)
    assert RateLimitRequest.FromString(again) == found


def test_depth_is_bounded() -> None:
    data = b"\x1a\x01\xff"  # google.protobuf.Value: `string_value`
    for _ in range(300):
        for tag in (b"\x0a", b"\x32"):  # ListValue: `values`; Value: `list_value`
            data = tag + varint.write(len(data)) + data
    with pytest.raises(proto.DecodeError):
        texts.parse(Value, data)
