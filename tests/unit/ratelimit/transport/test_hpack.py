"""Our HPACK decoder against the `hpack` library's encoder and decoder."""

from __future__ import annotations

import hpack as oracle
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given, settings, strategies as st

from dragoman.ratelimit.transport.http2 import hpack, huffman

NAMES = st.sampled_from([b":path", b"te", b"x-tenant", b"grpc-timeout", b"traceparent"]) | st.binary(
    max_size=40
)
LISTS = st.lists(st.tuples(NAMES, st.binary(max_size=200), st.booleans()), max_size=12)
ENCODER = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_huffman_reads_what_the_library_writes(data: bytes) -> None:
    assert huffman.decode(ENCODER.encode(data)) == data


def test_huffman_knows_the_whole_code() -> None:
    theirs = {
        (bits, code): symbol
        for symbol, (code, bits) in enumerate(zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True))
    }
    assert theirs == huffman._CODES


@pytest.mark.parametrize("data", ["ff" * 4, "1f" + "ff", "1e", "fffffffc"])
def test_huffman_refuses_bad_padding_and_eos(data: str) -> None:
    assert huffman.decode(bytes.fromhex(data)) is None


@settings(deadline=None)
@given(st.lists(st.tuples(LISTS, st.booleans(), st.sampled_from([None, 0, 100, 4096])), max_size=6))
def test_blocks_decode_as_the_library_encodes_them(
    blocks: list[tuple[list[tuple[bytes, bytes, bool]], bool, int | None]],
) -> None:
    encoder, decoder = oracle.Encoder(), hpack.Decoder()
    for fields, huffman_coded, table in blocks:
        if table is not None:
            encoder.header_table_size = table
        block = encoder.encode(fields, huffman=huffman_coded)
        assert decoder.decode(block, 1 << 20) == [(name, value) for name, value, _ in fields]
        assert decoder._used == encoder.header_table._current_size


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=5))
def test_any_bytes_decode_as_in_the_library_or_are_refused(blocks: list[bytes]) -> None:
    ours, theirs = hpack.Decoder(), oracle.Decoder()
    for block in blocks:
        try:
            expected = [(f[0], f[1]) for f in theirs.decode(block, raw=True)]
        except oracle.HPACKError:
            with pytest.raises(hpack.HpackError):
                ours.decode(block, 1 << 20)
            return
        assert ours.decode(block, 1 << 20) == expected


def test_a_list_too_large_still_updates_the_table() -> None:
    encoder, decoder = oracle.Encoder(), hpack.Decoder()
    fields = [(b"x-a", b"1" * 100), (b"x-b", b"2")]
    assert decoder.decode(encoder.encode(fields), 150) is None
    assert decoder.decode(encoder.encode(fields[1:]), 150) == fields[1:]


def test_a_table_given_up_is_empty() -> None:
    encoder, decoder = oracle.Encoder(), hpack.Decoder()
    fields = [(b"x-a", b"1")]
    decoder.decode(encoder.encode(fields), 150)
    decoder.forgo()
    with pytest.raises(hpack.HpackError, match="outside the table"):
        decoder.decode(encoder.encode(fields), 150)
    assert decoder.decode(b"\x20\x40\x01a\x01b", 150) == [(b"a", b"b")]
