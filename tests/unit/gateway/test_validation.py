"""Equal parts are one object, and nobody can tell by anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydantic
import pytest

from dragoman.document import Document
from dragoman.sources import files
from dragoman.translators.gateway import decode, validation
from dragoman.translators.gateway.models import httproute

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "_BEGIN", 0)
    monkeypatch.setattr(validation, "_seen", {})


def _route(path: Any, port: Any = 80) -> dict[str, Any]:
    return {
        "parentRefs": [{"name": "edge", "port": port}],
        "rules": [{"matches": [{"path": {"value": path}}], "filters": []}],
    }


def _make(given: dict[str, Any]) -> httproute.HttpRoute:
    made: httproute.HttpRoute = validation.validator(httproute.HttpRoute)(
        validation.share(httproute.HttpRoute, given)
    )
    return made


def test_equal_parts_are_one_object() -> None:
    one, other = _make(_route("/a")), _make(_route("/a"))
    assert one == other
    assert one.parent_refs[0] is other.parent_refs[0]
    assert one.rules[0].matches[0] is other.rules[0].matches[0]
    assert _make(_route("/b")).rules[0].matches[0] is not one.rules[0].matches[0]


def test_what_was_given_stays_as_it_was() -> None:
    given = _route("/a")
    _make(given)
    assert given == _route("/a")


def test_nothing_is_shared_before_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "_BEGIN", 1)
    given = _route("/a")
    assert validation.share(httproute.HttpRoute, given) is given
    assert validation.share(httproute.HttpRoute, given) is not given


@pytest.mark.parametrize("wrong", ["80", 80.0, True, 0, None, [], {}])
def test_what_looks_alike_is_told_apart(wrong: Any) -> None:
    _make(_route("/a"))
    given = _route("/a", wrong)
    assert _outcome(validation.share(httproute.HttpRoute, given)) == _outcome(given)


def _outcome(given: Any) -> Any:
    try:
        return validation.validator(httproute.HttpRoute)(given)
    except pydantic.ValidationError as failure:
        return str(failure)


def test_no_more_are_kept_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "_KEPT", 4)
    for number in range(20):
        _make(_route(f"/{number}"))
        assert len(validation._shared(httproute.Match).known) <= 4


@pytest.mark.parametrize("folder", sorted(path.parent.name for path in GOLDEN.glob("*/in.yaml")))
def test_all_decodes_alike_with_and_without(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def decoded(document: Document) -> Any:
        return decode.decode(document)

    given = [
        document
        for document in files.Files([GOLDEN / folder / "in.yaml"]).load().upserts
        if (document.ref.group, document.ref.kind) in decode.READERS
    ]
    shared = [decoded(document) for document in (*given, *given)]
    monkeypatch.setattr(validation, "_BEGIN", 1_000_000)
    plain = [decoded(document) for document in (*given, *given)]
    assert shared == plain
