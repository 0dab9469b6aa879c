"""What the encoder keeps of what it framed: what streams share within seconds, and nothing for long."""

from __future__ import annotations

import tracemalloc

from dragoman.resource import CLUSTER, Resource
from dragoman.xds.wire import Body, Encoder, Form


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def item(number: int, size: int = 10) -> Resource:
    return Resource(CLUSTER, f"c{number}", f"v{number}", (bytes(size),))


def ask(encoder: Encoder, number: int = 0) -> Body:
    return encoder.some(Form.DELTA, CLUSTER, (item(number),))


def test_streams_share_what_the_second_was_given() -> None:
    encoder = Encoder()
    first, second, third = ask(encoder), ask(encoder), ask(encoder)
    assert first == second
    assert first is not second
    assert third is second


def test_what_is_asked_for_stays_and_the_rest_goes() -> None:
    clock = Clock()
    encoder = Encoder(clock=clock)
    kept = [ask(encoder, number) for _ in range(2) for number in (0, 1)][-2:]
    for number in range(2, 8):
        clock.now += 8.0
        ask(encoder, number)
        assert ask(encoder, 0) is kept[0]
    assert ask(encoder, 1) is not kept[1]


def test_what_is_kept_is_bounded() -> None:
    limit = 1 << 20
    clock = Clock()
    encoder = Encoder(limit, clock=clock)
    tracemalloc.start()
    try:
        for number in range(1000):
            for _ in range(2):
                encoder.some(Form.DELTA, CLUSTER, (item(number, 10_000),))
        assert tracemalloc.get_traced_memory()[0] < limit * 1.5
    finally:
        tracemalloc.stop()


def test_a_set_that_is_larger_than_all_that_may_be_kept_is_kept() -> None:
    encoder = Encoder(1000)
    made = [encoder.whole(Form.SOTW, CLUSTER, "v", lambda: [item(0, 5000)]) for _ in range(5)]
    assert made[-1] is made[1]
