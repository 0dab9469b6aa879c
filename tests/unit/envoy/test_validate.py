"""Finding culprits and reading Envoy's words; with the real Envoy: tests/envoy/test_encoding.py."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from dragoman import resource
from dragoman.diagnostics import codes
from dragoman.envoy import validate
from dragoman.refs import Ref

PREFIX = "error initializing configuration '/tmp/x.pb': "
CONSTRAINT = (
    "Proto constraint validation failed (A.B: embedded message failed validation | caused by"
    " C.Key: value does not match)\n"
)


@given(st.integers(0, 60), st.sets(st.integers(0, 59), max_size=4))
def test_halving_finds_every_culprit(count: int, bad: set[int]) -> None:
    pieces = [validate._Piece(resource.CLUSTER, str(n)) for n in range(count)]
    runs = 0

    def refuses(some: object) -> str | None:
        nonlocal runs
        runs += 1
        assert isinstance(some, list)
        guilty = [piece.name for piece in some if int(piece.name) in bad]
        return f"not {guilty[0]}" if guilty else None

    found = [(piece.name, detail) for piece, detail in validate._culprits(pieces, refuses)]
    expected = sorted(n for n in bad if n < count)
    assert found == [(str(n), f"not {n}") for n in expected]
    assert runs <= 1 + 2 * 6 * len(expected)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (PREFIX + "missing ): (a\n\n", "missing ): (a"),
        (
            PREFIX + 'goo.gle/debugstr\nname: "x"\n: ' + CONSTRAINT,
            "C.Key: value does not match",
        ),
        (
            PREFIX + 'goo.gle/debugonly\nkey: "secret"\nunknown',
            "unknown",
        ),
        ("", "Envoy refused the configuration without a word"),
    ],
)
def test_the_reason_without_the_configuration(words: str, reason: str) -> None:
    assert validate._reason(words) == reason


@pytest.mark.parametrize(
    ("finding", "ref", "message"),
    [
        (
            validate.Finding(resource.ROUTE, "127.0.0.1:80", "no", "HTTPRoute/shop/cart/#0/1"),
            Ref("gateway.networking.k8s.io", "HTTPRoute", "shop", "cart"),
            "Envoy refuses route HTTPRoute/shop/cart/#0/1: no",
        ),
        (
            validate.Finding(resource.CLUSTER, "Backend/shop/ext", "no"),
            Ref("dragoman.dev", "Backend", "shop", "ext"),
            "Envoy refuses CDS Backend/shop/ext: no",
        ),
        (
            validate.Finding(resource.LISTENER, "127.0.0.1:80", "no"),
            None,
            "Envoy refuses LDS 127.0.0.1:80: no",
        ),
        (validate.Finding("", "", "no"), None, "Envoy refuses the configuration as a whole: no"),
    ],
)
def test_findings_lead_to_objects(finding: validate.Finding, ref: Ref | None, message: str) -> None:
    made = validate._diagnostic(finding)
    assert (made.ref, made.message) == (ref, message)
    assert made.code in codes.CODES
