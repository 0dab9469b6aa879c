"""Limits on their way to services elsewhere: there and back, and from a control plane of another version."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from dragoman import proto
from dragoman.ir import model as ir, ratelimit
from dragoman.proto.google.protobuf import StringValue
from dragoman.ratelimit import published

texts = st.text(max_size=8)
limits = st.builds(
    ir.RateLimit,
    id=texts,
    name=texts,
    policy=texts,
    amount=st.integers(1, 10**8),
    window=st.floats(0.05, 1e9),
    counting=st.sampled_from(ratelimit.Counting),
    where=st.sampled_from(ratelimit.Where),
    burst=st.integers(0, 10**8),
    key=st.lists(st.builds(ratelimit.KeyPart, st.sampled_from(ratelimit.Part), texts)).map(tuple),
    when=st.lists(st.builds(ratelimit.Condition, texts, st.none() | texts)).map(tuple),
    sharing=st.sampled_from(ratelimit.Sharing),
    cost=st.none() | st.builds(ratelimit.Cost, texts, st.booleans(), st.lists(texts).map(tuple)),
    shadow=st.booleans(),
    failure=st.sampled_from(ratelimit.Failure),
    told=st.builds(ratelimit.Told, st.booleans(), st.booleans(), message=texts),
    plans=st.lists(st.builds(ratelimit.Plan, texts, st.none() | st.integers(1, 9), st.floats(1, 99))).map(
        tuple
    ),
    status=st.sampled_from((0, 503)),
    timeout=st.floats(0, 60),
    place=texts,
    gateway=texts,
)


@given(st.frozensets(limits, max_size=3))
def test_there_and_back(some: frozenset[ir.RateLimit]) -> None:
    payload = published.encode(some)
    assert published.decode(payload) == some
    assert published.encode(sorted(some, key=repr)) == payload


def altered(**fields: object) -> bytes:
    limit = ir.RateLimit("a", "a", "p", 1, 1.0, ratelimit.Counting.FIXED_WINDOW)
    data = json.loads(StringValue.FromString(published.encode([limit])).value)
    data["limits"][0] |= fields
    return proto.serialize(StringValue(value=json.dumps(data)))


def test_a_newer_control_plane_says_more_and_an_older_one_less() -> None:
    (found,) = published.decode(altered(fields_of_tomorrow=1))
    assert found.amount == 1
    less = StringValue(
        value='{"limits": [{"id": "a", "name": "a", "policy": "p", "amount": 2, "window": 1,'
        ' "counting": "FixedWindow"}]}'
    )
    (found,) = published.decode(proto.serialize(less))
    assert (found.amount, found.where) == (2, ratelimit.Where.GLOBAL)


@pytest.mark.parametrize(
    "payload",
    [
        altered(counting="Sundial"),
        altered(key=[{"part": "Shoe"}]),
        altered(key=7),
        proto.serialize(StringValue(value="{}")),
        proto.serialize(StringValue(value='{"limits": ["x"]}')),
        proto.serialize(StringValue(value="[")),
        b"\xff",
    ],
)
def test_what_is_not_understood_is_refused_as_a_whole(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        published.decode(payload)
