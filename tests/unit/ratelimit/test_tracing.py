"""Whose child a decision's span is."""

from __future__ import annotations

import pytest

from dragoman.ratelimit import tracing

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"42-{TRACE}-{SPAN}-01-more", True),  # a version of tomorrow
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-02", False),
        (f"ff-{TRACE}-{SPAN}-01", False),
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{SPAN}-01", False),
        (f"00-{TRACE}-{SPAN}", False),
        ("", False),
    ],
)
def test_the_callers_span(value: str, sampled: bool) -> None:
    found = tracing.parent([("x-request-id", "1"), ("traceparent", value)])
    assert found == (tracing.Parent(TRACE, SPAN) if sampled else None)


def test_without_a_trace_there_is_none() -> None:
    assert tracing.parent([]) is None
    assert tracing.parent([("tracestate", "a=b")]) is None


def test_spans_that_nobody_takes_are_bounded() -> None:
    tracer = tracing.Tracer("127.0.0.1:1")
    for _ in range(tracing.MOST + 7):
        tracer.decided(tracing.Parent(TRACE, SPAN), 0.001, "shop", False, ("a",))
    assert tracer.dropped == 7
