"""`dragoman rollout`: what it shows, and its exit codes."""

from __future__ import annotations

from typing import Any

import click
import pytest

from dragoman.cli import client, failure, rollout
from tests.unit.cli.conftest import Call


def one(kind: str = "Progressing", **more: Any) -> dict[str, Any]:
    conditions = [
        {"type": "Accepted", "status": "True", "reason": "Accepted", "message": ""},
        {"type": kind, "status": "True", "reason": "Pausing", "message": "step 1 of 2: 5% for 600s"},
    ]
    status = {"conditions": conditions, "phase": kind, "canaryWeight": 5, "steps": 2, "step": 1, **more}
    return {"group": "dragoman.dev", "kind": "Rollout", "namespace": "shop", "name": "cart", "status": status}


def test_the_page() -> None:
    check = {"name": "errors", "verdict": "Good", "value": "99.9% success of 300 requests", "failures": 0}
    page = rollout.text([one(stepDue="2026-01-01T00:10:00Z", approvalNeeded=True, checks=[check])])
    assert click.unstyle(page).splitlines() == [
        "shop/cart  Progressing  step 1 of 2: 5% for 600s",
        "  canary  5%, step 1 of 2",
        "  next    not before 2026-01-01T00:10:00Z",
        "  next    dragoman rollout approve shop/cart",
        "  check   errors: good  99.9% success of 300 requests",
    ]
    assert rollout.text([]) == "no Rollouts"


@pytest.mark.parametrize(
    ("kind", "code"), [("Progressing", 0), ("Promoted", 0), ("Held", 1), ("RolledBack", 1)]
)
def test_exit_code(call: Call, monkeypatch: pytest.MonkeyPatch, kind: str, code: int) -> None:
    monkeypatch.setattr(client, "get", lambda *_: [one(kind)])
    assert call("rollout", "status").exit_code == code


def test_what_the_server_refuses_is_said(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def post(_: str, path: str, query: Any) -> Any:
        assert (path, query) == ("rollouts/approve", {"name": "cart"})
        raise failure.Failure("step 1 needs no approval")

    monkeypatch.setattr(client, "post", post)
    done = call("rollout", "approve", "cart")
    assert (done.exit_code, "needs no approval" in done.output) == (2, True)
