"""Shares of all requests into Envoy's fractions, which have three denominators to choose from."""

from __future__ import annotations

from dragoman.proto.envoy.type import v3 as type_proto


def assign(target: type_proto.FractionalPercent, numerator: int, denominator: int) -> None:
    """Sets `target` to the nearest fraction, and never to 0 unless it is 0."""
    kinds = type_proto.FractionalPercent
    for size, kind in ((100, kinds.HUNDRED), (10_000, kinds.TEN_THOUSAND), (1_000_000, kinds.MILLION)):
        if numerator * size % denominator == 0:
            target.numerator, target.denominator = numerator * size // denominator, kind
            return
    target.numerator = max(1, round(numerator * 1_000_000 / denominator))
    target.denominator = kinds.MILLION
