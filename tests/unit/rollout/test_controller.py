"""The controller over a real pipeline, with a clock that tests turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from dragoman.document import Document
from dragoman.graph.pipeline import Pipeline
from dragoman.ir.rollouts import Phase
from dragoman.refs import Ref
from dragoman.rollout import access_log, controller, machine, prometheus, state
from dragoman.sources.base import Update
from tests.harness import manifests

ROLLOUT = Ref("dragoman.dev", "Rollout", "shop", "cart")
ROUTE = Ref("gateway.networking.k8s.io", "HTTPRoute", "shop", "cart")
NEXT = (Ref("", "Service", "shop", "next"), 80)
SUCCESS = {"name": "errors", "successRate": {"min": 99}, "minRequests": 10, "interval": "10s"}


def document(body: manifests.Body) -> Document:
    group = body["apiVersion"].rpartition("/")[0]
    about = body["metadata"]
    return Document(Ref(group, body["kind"], about.get("namespace", ""), about["name"]), body)


def rollout(*steps: dict[str, Any], name: str = "cart", **more: Any) -> Document:
    return document(
        {
            "apiVersion": "dragoman.dev/v1alpha1",
            "kind": "Rollout",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {
                "targetRef": {"name": "cart"},
                "stable": {"name": "old", "port": 80},
                "canary": {"name": "next", "port": 80},
                "steps": list(steps),
                **more,
            },
        }
    )


class Bench:
    """A pipeline, a controller, and a clock. `nudged` counts what went through the feed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1000.0
        self.nudged = 0
        self.documents: list[Document] = [
            document(manifests.gateway_class()),
            document(manifests.gateway(manifests.listener("http", 80))),
            document(manifests.service("old")),
            document(manifests.service("next")),
            document(manifests.http_route("cart", manifests.rule(("old", 1), ("next", 0)))),
        ]
        self.start()

    def start(self) -> None:
        """As a control plane starts: what is kept goes in first."""
        self.pipeline = Pipeline()
        file = state.File(self.folder / "rollouts.json")
        self.counted: list[tuple[str, str]] = []
        self.controller = controller.Controller(
            self.pipeline, self._nudge, file, lambda: self.now, lambda *what: self.counted.append(what)
        )
        self.controller.restore()
        self.pipeline.load(self.documents)

    def _nudge(self, change: Callable[[], None]) -> None:
        self.nudged += 1
        change()
        self.pipeline.commit()

    def put(self, *documents: Document) -> None:
        refs = {each.ref for each in documents}
        self.documents = [each for each in self.documents if each.ref not in refs] + list(documents)
        self.pipeline.load(documents)

    async def after(self, seconds: float) -> None:
        self.now += seconds
        await self.controller.tick()

    def report(self, good: int, bad: int = 0, backend: tuple[Ref, int] = NEXT) -> None:
        self.controller.heard(
            access_log.Request("shop/cart", backend, number < good, 0.01) for number in range(good + bad)
        )

    @property
    def weights(self) -> list[int]:
        action: Any = self.pipeline.view().route_sets[ROUTE].routes[0].action
        return [each.weight for each in action.backends]

    @property
    def body(self) -> dict[str, Any]:
        found = self.pipeline.status(ROLLOUT)
        assert found is not None
        return dict(found.body)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    yield made
    await made.controller.close()


async def test_from_the_first_step_to_the_promotion(bench: Bench) -> None:
    bench.put(rollout({"weight": 25, "pause": "10s"}, {"weight": 50, "pause": "10s"}))
    assert bench.weights == [1, 0]
    await bench.after(0)
    assert bench.weights == [3, 1]
    assert bench.body["stepDue"] == "1970-01-01T00:16:50Z"
    for _ in range(9):
        await bench.after(1)
    assert (bench.weights, bench.nudged) == ([3, 1], 1), "nothing moves while nothing is decided"
    await bench.after(1)
    assert bench.weights == [1, 1]
    await bench.after(10)
    assert bench.weights == [0, 1]
    assert bench.body["phase"] == "Promoted"


async def test_a_restart_goes_on_where_it_was(bench: Bench) -> None:
    bench.put(rollout({"weight": 25, "pause": "10s"}, {"weight": 50, "pause": "100s"}))
    await bench.after(0)
    await bench.after(10)
    await bench.after(60)
    bench.start()
    assert bench.weights == [1, 1], "with the first configuration"
    await bench.after(39)
    assert bench.weights == [1, 1]
    await bench.after(1)
    assert bench.body["phase"] == "Promoted"
    bench.start()
    assert bench.weights == [0, 1]


async def test_it_is_kept_before_it_is_let_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.put(rollout({"weight": 25, "pause": "10s"}))
    kept: list[list[int]] = []
    save = state.File.save
    monkeypatch.setattr(state.File, "save", lambda *args: kept.append(bench.weights) or save(*args))
    await bench.after(0)
    assert (kept, bench.weights) == ([[1, 0]], [3, 1])


async def test_envoys_reports_decide(bench: Bench) -> None:
    bench.put(rollout({"weight": 25}, {"weight": 50}, checks=[SUCCESS]))
    await bench.after(0)
    bench.report(9)
    await bench.after(10)
    assert bench.body["checks"][0]["value"] == "9 of 10 requests"
    bench.report(200, backend=(NEXT[0], 81))
    bench.controller.heard([access_log.Request("nonsense", NEXT, good=False, seconds=1.0)])
    bench.report(200, backend=(Ref("", "Service", "shop", "old"), 80))
    await bench.after(10)
    assert bench.body["step"] == 1
    bench.report(1)
    await bench.after(10)
    assert bench.body["step"] == 2
    bench.report(98, 2)
    await bench.after(10)
    assert (bench.body["phase"], bench.weights) == ("RolledBack", [1, 0])
    assert "98.00% success of 100 requests" in bench.body["conditions"][-1]["message"]


async def test_a_verdict_uses_up_what_it_is_of(bench: Bench) -> None:
    bench.put(rollout({"weight": 25, "pause": "1h"}, checks=[SUCCESS]))
    await bench.after(0)
    bench.report(1000)
    await bench.after(10)
    bench.report(9, 1)
    await bench.after(10)
    assert bench.body["phase"] == "RolledBack", "good times before do not count"


async def test_a_prometheus_that_is_away_holds_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = machine.Measurement(None, "Prometheus cannot be asked: TimeoutError")

    async def ask(*_: object) -> machine.Measurement:
        return answer

    monkeypatch.setattr(prometheus, "ask", ask)
    query = {"address": "http://prometheus:9090", "query": "up", "min": 1}
    bench.put(rollout({"weight": 25}, checks=[{"prometheus": query, "interval": "5s"}]))
    await bench.after(0)
    await bench.after(5)
    assert bench.body["checks"][0]["verdict"] == "None"
    assert bench.weights == [3, 1]
    answer = machine.Measurement(True, "1")
    await bench.after(5)
    assert bench.body["phase"] == "Promoted"
    assert bench.counted == [("shop/cart", "none"), ("shop/cart", "good")]

    assert bench.controller.weights == {"shop/cart": 100}


async def test_an_answer_to_another_question_counts_for_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checks are edited while Prometheus takes its time."""
    query = {"address": "http://prometheus:9090", "query": "errors", "max": 1}

    def checked(**more: Any) -> Document:
        return rollout({"weight": 25}, checks=[{"prometheus": {**query, **more}, "interval": "5s"}])

    async def ask(*_: object) -> machine.Measurement:
        bench.put(checked(max=100))
        return machine.Measurement(False, "50")

    bench.put(checked())
    await bench.after(0)
    monkeypatch.setattr(prometheus, "ask", ask)
    await bench.after(5)
    assert bench.body["phase"] == "Progressing"


async def test_people_decide_at_once(bench: Bench) -> None:
    bench.put(rollout({"weight": 25, "approval": True}, {"weight": 50, "approval": True}))
    await bench.after(0)
    assert bench.body["approvalNeeded"] is True
    assert bench.controller.approve("cart") == ROLLOUT
    assert bench.body["approvalNeeded"] is False
    await bench.after(1)
    assert bench.weights == [1, 1]
    bench.controller.abort("shop/cart")
    assert bench.weights == [1, 0]
    with pytest.raises(machine.Refused):
        bench.controller.approve("cart")
    with pytest.raises(controller.UnknownRollout, match="no accepted Rollout card; there are: shop/cart"):
        bench.controller.abort("card")


async def test_a_rollout_that_is_gone_is_forgotten_one_whose_route_is_gone_is_not(bench: Bench) -> None:
    bench.put(rollout({"weight": 25, "approval": True}))
    await bench.after(0)
    bench.pipeline.apply(Update((), (ROUTE,)))
    bench.pipeline.commit()
    await bench.after(1)
    bench.put(bench.documents[4])
    assert bench.weights == [3, 1]
    bench.pipeline.apply(Update((), (ROLLOUT,)))
    bench.pipeline.commit()
    assert bench.weights == [1, 0], "the route's own"
    await bench.after(1)
    bench.put(rollout({"weight": 25, "approval": True}))
    assert bench.weights == [1, 0], "begins anew"
    assert state.File(bench.folder / "rollouts.json").load() == {}


async def test_one_that_cannot_be_kept_goes_on(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.folder.joinpath("rollouts.draft").mkdir()
    bench.put(rollout({"weight": 25, "pause": "1h"}))
    await bench.after(0)
    assert bench.weights == [3, 1]
    assert "DRG5101" in caplog.text
    assert bench.pipeline.rollouts[ROLLOUT].steps[0].weight == 25
    assert bench.body["phase"] == Phase.PROGRESSING.value
