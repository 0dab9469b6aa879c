"""What the API answers, about a pipeline that holds the first example."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from multidict import MultiDict

from dragoman import config
from dragoman.admin import api
from dragoman.graph.pipeline import Pipeline
from dragoman.resource import CLUSTER, LISTENER, ROUTE, TYPES
from dragoman.runtime.feed import Feed
from dragoman.sources.base import Update
from dragoman.sources.files import Files
from dragoman.telemetry.metrics import Metrics
from dragoman.xds.ledger import Ledger
from dragoman.xds.types import Node, Peer, Rejection
from dragoman.xds.wire import Form

HELLO = Path(__file__).parents[3] / "examples" / "01-hello"


@pytest.fixture
def state() -> Any:
    pipeline = Pipeline()
    pipeline.apply(Files([HELLO]).load())
    pipeline.commit()
    return SimpleNamespace(
        pipeline=pipeline,
        ledger=Ledger(),
        metrics=Metrics(),
        started=0.0,
        settle=lambda: None,
        not_ready=lambda: "",
    )


def ask(state: Any, name: str, *query: tuple[str, str]) -> Any:
    endpoint = next(each for each in api.ENDPOINTS if each.name == name)
    return json.loads(json.dumps(endpoint.answer(cast(api.State, state), api.Query(MultiDict(query)))))


def test_objects_have_their_status(state: Any) -> None:
    kinds = {item["kind"]: item for item in ask(state, "objects")}
    assert kinds["Gateway"]["status"]["conditions"][0]["type"] == "Accepted"


def test_snapshot_without_bodies_unless_asked(state: Any) -> None:
    assert all("body" not in item for item in ask(state, "snapshot"))
    (found,) = ask(state, "snapshot", ("type", "LDS"), ("body", "1"))
    assert found["body"]["name"] == "127.0.0.1:8080"


def test_explain(state: Any) -> None:
    request = ask(state, "explain", ("url", "http://127.0.0.1:8080/"), ("header", "x-env: canary"))
    assert request["route"]["name"] == "HTTPRoute/hello/hello/canary/0"
    assert ask(state, "explain", ("object", "gateway/edge"))["listeners"][0]["name"] == "http"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ((), 400),
        ((("url", "ftp://x/"),), 400),
        ((("url", "http://x/"), ("header", "x")), 400),
        ((("object", "gateway/nobody"),), 404),
    ],
)
def test_refusals(state: Any, query: tuple[tuple[str, str], ...], status: int) -> None:
    with pytest.raises(api.Refused) as refused:
        ask(state, "explain", *query)
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("snapshot", ()),
        ("explain", (("url", "http://127.0.0.1:8080/"),)),
        ("explain", (("object", "gateway/edge"),)),
    ],
)
async def test_a_question_hands_nobody_half_of_a_batch(
    state: Any, name: str, query: tuple[tuple[str, str], ...]
) -> None:
    """Who asks for a group that is not there has it built, and all that waits with it."""
    feed = Feed(state.pipeline, config.Batch(slice=0.0), lambda _: None)
    state.settle = feed.settle
    view = state.pipeline.activate("hello/edge")
    before = dict(view.resources(ROUTE))
    (route,) = (one for one in Files([HELLO]).load().upserts if one.ref.kind == "HTTPRoute")
    feed.offer(Update(deletes=(route.ref,)))
    feed.offer(Update(upserts=(route,)))
    seen: list[object] = []
    view.subscribe(seen.append)
    work = asyncio.create_task(feed.work())
    await asyncio.sleep(0)  # it has taken the first and not the second
    ask(state, name, *query)
    await work
    assert not seen
    assert dict(view.resources(ROUTE)) == before


def test_types_by_any_of_their_names() -> None:
    assert api.types_of([]) == TYPES
    for name in ("LDS", "lds", "Listener", LISTENER):
        assert api.types_of([name]) == (LISTENER,)


def test_proxies_and_their_refusals(state: Any) -> None:
    stream = state.ledger.open(Node("edge-1", version="1.40.0"), Peer("127.0.0.1:9"), "*", Form.DELTA, "ADS")
    stream.subscribed(LISTENER, 0, True)
    stream.sent(LISTENER, "1", "v1", 1, 100)
    (proxy,) = ask(state, "proxies")
    assert (proxy["node"], proxy["form"], proxy["types"]["LDS"]["state"]) == ("edge-1", "delta", "STALE")
    stream.acked(LISTENER, "1", "v1", 0.1)
    assert ask(state, "proxies")[0]["types"]["LDS"]["state"] == "SYNCED"
    stream.sent(LISTENER, "2", "v2", 1, 100)
    stream.nacked(LISTENER, "2", "v2", {"127.0.0.1:8080": "cannot bind\n"})
    found = ask(state, "proxies")[0]["types"]["LDS"]
    assert (found["state"], found["detail"], found["names"]) == ("NACK", "cannot bind", ["127.0.0.1:8080"])


def test_a_proxy_that_does_not_say_which_filter_chains_it_has(state: Any) -> None:
    stream = state.ledger.open(Node("edge-1", version="1.40.0"), Peer("127.0.0.1:9"), "*", Form.DELTA, "ADS")
    stream.subscribed(LISTENER, 0, True)
    stream.session = SimpleNamespace(silent=("127.0.0.1:8443",))
    found = ask(state, "proxies")[0]["types"]["LDS"]
    assert found["state"] == "STALE"
    assert found["detail"].startswith("127.0.0.1:8443 not sent: ")
    stream.session = SimpleNamespace(silent=())
    assert "detail" not in ask(state, "proxies")[0]["types"]["LDS"]


def test_a_refusal_reaches_status_and_diagnostics(state: Any) -> None:
    state.pipeline.activate("*")
    state.pipeline.report_rejection(
        Rejection("edge-1", "*", LISTENER, ("127.0.0.1:8080",), "cannot bind", "v", 0.0)
    )
    assert "DRG4101" in {item["code"] for item in ask(state, "diagnostics")}
    assert "DRG4101" in {item["code"] for item in ask(state, "status")["diagnostics"]}


def test_each_refusal_goes_to_its_own_object(state: Any) -> None:
    """Also where the words about one name an object and those about the other do not."""
    about = {"a": "no cluster for HTTPRoute/hello/hello/canary/0", "Backend/hello/v1": "no such address"}
    rejection = Rejection("edge-1", "*", CLUSTER, tuple(about), "; ".join(about.values()), "v", 0.0, about)
    refs = state.pipeline.report_rejection(rejection)
    assert {ref.kind for ref in refs} == {"HTTPRoute", "Backend"}
    found = [one["message"] for one in ask(state, "diagnostics") if one["code"] == "DRG4101"]
    assert sorted(found) == sorted(
        f"Envoy edge-1 refused CDS {name}: {words}" for name, words in about.items()
    )
    state.pipeline.clear_rejection("edge-1", CLUSTER)
    assert "DRG4101" not in {one["code"] for one in ask(state, "diagnostics")}


def test_collections_are_the_graph(state: Any) -> None:
    found = ask(state, "collections")
    names = {item["name"] for item in found["collections"]}
    assert names
    assert all(set(edge) <= names for edge in found["edges"])
