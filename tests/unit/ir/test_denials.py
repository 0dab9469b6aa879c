"""What clients are told of limits that Envoy counts itself, and which of them cannot be told apart."""

from __future__ import annotations

from dataclasses import replace

from dragoman.ir import denials, model as ir, ratelimit

LOCAL = ratelimit.Where.LOCAL
BASE = ir.RateLimit("p/a", "a", "p", 10, 60.0, ratelimit.Counting.TOKEN_BUCKET, LOCAL)
SLOWLY = ratelimit.Told(message="Slowly.")
HIDDEN = ratelimit.Told(x_ratelimit=False)


def test_a_limit_is_known_by_the_size_of_its_bucket() -> None:
    gold, free = ratelimit.Plan("gold", 50, 1.0, 70), ratelimit.Plan("free", None, 60.0)
    found = denials.by_number([replace(BASE, plans=(gold, free), burst=20, status=503, told=SLOWLY)])
    assert {number: (one.amount, one.status, one.message) for number, one in found.items()} == {
        20: (10, 503, "Slowly."),
        70: (50, 503, "Slowly."),
    }
    assert not denials.by_number([replace(BASE, shadow=True), replace(BASE, where=ratelimit.Where.GLOBAL)])


def test_of_two_with_one_number_both_are_named() -> None:
    other = replace(BASE, name="b", policy="q", amount=5, burst=10)
    (one,) = denials.by_number([BASE, other]).values()
    assert (one.amount, one.window, one.names, one.policies) == (0, 60.0, ("a", "b"), ("p", "q"))
    assert not list(denials.confused([BASE, other])), "they say the same"
    slow = replace(other, told=SLOWLY)
    assert [(a.name, b.name) for a, b in denials.confused([BASE, slow])] == [("a", "b")]
    assert denials.by_number([BASE, slow])[10].message == ""


def test_numbers_that_clients_do_not_see_are_one() -> None:
    few, many = replace(BASE, told=HIDDEN), replace(BASE, name="b", amount=99, told=HIDDEN)
    assert list(denials.by_number([few, many])) == [denials.UNKNOWN]
    assert denials.by_number([few, many])[denials.UNKNOWN].amount == 0
    assert not list(denials.confused([few, many]))
    assert list(denials.confused([few, replace(many, status=503)]))
