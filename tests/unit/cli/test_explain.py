"""`dragoman explain`: requests and objects, from files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Call

URL = "http://127.0.0.1:8080/api/users"


def test_a_request(call: Call, hello: Path) -> None:
    result = call("explain", "GET", URL, "-f", hello)
    assert result.exit_code == 0
    assert "=> HTTPRoute/hello/hello/api/0" in result.stdout
    assert "as            /users for 127.0.0.1:8080" in result.stdout


def test_the_method_may_be_left_out_and_paths_may_follow(call: Call, hello: Path) -> None:
    assert call("explain", URL, hello).stdout == call("explain", "GET", URL, "-f", hello).stdout


def test_headers_decide(call: Call, hello: Path) -> None:
    asked = ("explain", "GET", "http://127.0.0.1:8080/", "-f", hello, "-o", "json")
    assert json.loads(call(*asked).stdout)["route"]["name"] == "HTTPRoute/hello/hello/default/0"
    canary = json.loads(call(*asked, "-H", "x-env: canary").stdout)
    assert canary["route"]["name"] == "HTTPRoute/hello/hello/canary/0"


@pytest.mark.parametrize(
    ("expectation", "code"), [("path=/users", 0), ("cluster=Backend/hello/hello", 0), ("status=404", 1)]
)
def test_expectations(call: Call, hello: Path, expectation: str, code: int) -> None:
    assert call("explain", "GET", URL, "-f", hello, "--expect", expectation).exit_code == code


def test_what_was_found_instead_is_said(call: Call, hello: Path) -> None:
    result = call("explain", "GET", URL, "-f", hello, "--expect", "path=/api/users")
    assert "expected path=/api/users, found /users" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("GET",),
        ("GET", URL, "--expect", "colour=red"),
        ("GET", URL, "-H", "no header"),
        ("GET", "ftp://shop.example/"),
        ("httproute/hello/hello", "-H", "x: y"),
        ("httproute/hello/nobody",),
        ("hello",),
    ],
)
def test_questions_that_make_no_sense(call: Call, hello: Path, arguments: tuple[str, ...]) -> None:
    result = call("explain", *arguments, "-f", hello)
    assert result.exit_code == 2
    assert "error: " in result.stderr


@pytest.mark.parametrize("name", ["httproute/hello/hello", "HTTPRoutes/hello", "HTTPRoute/hello/hello"])
def test_an_object_by_any_of_its_names(call: Call, hello: Path, name: str) -> None:
    found = json.loads(call("explain", name, "-f", hello, "-o", "json").stdout)
    assert found["object"]["kind"] == "HTTPRoute"
    assert found["place"] == f"{hello}/routes.yaml:2"
    assert [row["match"] for row in found["routes"]] == [
        "prefix `/api`",
        "prefix `/`, header `x-env` `canary`",
        "prefix `/`",
    ]


def test_who_set_a_value(call: Call, hello: Path) -> None:
    (hello / "timed.yaml").write_text(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n"
        "metadata: {name: timed, namespace: hello}\n"
        "spec:\n"
        "  parentRefs: [{name: edge}]\n"
        "  rules:\n"
        "  - matches: [{path: {type: Exact, value: /slow}}]\n"
        "    timeouts:\n"
        "      request: 5s\n"
        "    backendRefs: [{group: dragoman.dev, kind: Backend, name: hello}]\n"
    )
    found = json.loads(call("explain", "httproute/timed", "-f", hello, "-o", "json").stdout)
    values = {value["name"]: value for value in found["routes"][0]["values"]}
    assert values["timeout"]["value"] == "5s"
    assert values["timeout"]["from"] == "HTTPRoute hello/timed spec.rules[0].timeouts.request"
    assert values["timeout"]["place"] == f"{hello}/timed.yaml:9"
    assert values["retry"] == {"name": "retry", "value": "none", "from": "default"}


def test_a_backend_knows_its_users(call: Call, hello: Path) -> None:
    result = call("explain", "backend/hello/hello-canary", hello)
    assert "127.0.0.1:9002" in result.stdout
    assert "    HTTPRoute/hello/hello/canary/0" in result.stdout


def test_a_gateway_shows_where_envoy_listens(call: Call, hello: Path) -> None:
    result = call("explain", "gateway/edge", hello)
    assert "http: HTTP * on 127.0.0.1:8080" in result.stdout
    assert "    HTTPRoute hello/hello" in result.stdout


POLICIES = """
apiVersion: dragoman.dev/v1alpha1
kind: ClientPolicy
metadata: {name: edge, namespace: hello}
spec:
  targetRefs: [{kind: Gateway, name: edge}]
  headers: {maxBytes: 4096, maxCount: 50}
---
apiVersion: dragoman.dev/v1alpha1
kind: ClientPolicy
metadata: {name: http, namespace: hello}
spec:
  targetRefs: [{kind: Gateway, name: edge, sectionName: http}]
  headers: {maxCount: 20}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: another, namespace: hello, creationTimestamp: "2024-01-01T00:00:00Z"}
spec:
  gatewayClassName: dragoman
  listeners: [{name: other, port: 8081, protocol: HTTP}]
"""


def test_a_gateway_shows_which_policy_set_each_value(call: Call, hello: Path) -> None:
    (hello / "policies.yaml").write_text(POLICIES)
    listener = json.loads(call("explain", "gateway/edge", "-f", hello, "-o", "json").stdout)["listeners"][0]
    assert {row["name"]: (row["value"], row["from"]) for row in listener["values"]} == {
        "headers.maxBytes": ("4096", "ClientPolicy hello/edge spec.headers.maxBytes"),
        "headers.maxCount": ("20", "ClientPolicy hello/http spec.headers.maxCount"),
    }
    shown = call("explain", "gateway/edge", hello).stdout
    assert f"{hello}/policies.yaml:14" in shown


def test_a_gateway_shows_what_another_decides(call: Call, hello: Path) -> None:
    (hello / "policies.yaml").write_text(POLICIES.replace("port: 8081", "port: 8080"))
    listener = json.loads(call("explain", "gateway/edge", "-f", hello, "-o", "json").stdout)["listeners"][0]
    (shown, *_) = (row["value"] for row in listener["values"])
    assert shown == "4096 (not in force: listener other of Gateway hello/another decides)"


CASES = """
apiVersion: dragoman.dev/v1alpha1
kind: AuthPolicy
metadata: {name: tiers, namespace: hello}
spec:
  targetRefs: [{kind: HTTPRoute, name: hello}]
  introspection:
    endpoint: https://issuer.example/introspect
    clientID: gateway
    clientSecretRef: {name: gateway}
  routing:
    byClaim:
    - claims: [{name: tier, values: [gold]}]
      backendRefs: [{group: dragoman.dev, kind: Backend, name: gold}]
---
apiVersion: v1
kind: Secret
metadata: {name: gateway, namespace: hello}
stringData: {client-secret: s}
---
apiVersion: dragoman.dev/v1alpha1
kind: Backend
metadata: {name: gold, namespace: hello}
spec: {endpoints: [{address: 127.0.0.1, port: 9}]}
"""


def test_what_a_token_says_may_be_told(call: Call, hello: Path) -> None:
    (hello / "cases.yaml").write_text(CASES)
    asked = ("explain", "GET", "http://127.0.0.1:8080/", "-f", hello)
    result = call(*asked, "--claim", "tier=gold", "--expect", "cluster=Backend/hello/gold")
    assert result.exit_code == 0
    assert "case          the token says tier gold  (AuthPolicy hello/tiers spec.routing" in result.stdout
    assert call(*asked, "--claim", "tier=tin", "--expect", "cluster=Backend/hello/gold").exit_code == 1
    assert "the token says tier gold" in call(*asked).stdout
    assert "is no claim" in call(*asked, "--claim", "tier").stderr
    assert (
        "Backend hello/gold if the token says tier gold" in call("explain", "httproute/hello", hello).stdout
    )


def test_a_method_in_small_letters_is_no_object(call: Call, hello: Path) -> None:
    result = call("explain", "get", "http://127.0.0.1:8080/", "-f", hello)
    assert result.exit_code == 2
    assert "`get` is no method" in result.stderr
    assert "dragoman explain GET http://127.0.0.1:8080/" in result.stderr


def test_errors_are_mentioned(call: Call, hello: Path) -> None:
    (hello / "routes.yaml").write_text("kind: [\n")
    result = call("explain", "GET", "http://127.0.0.1:8080/", "-f", hello)
    assert "404 from Envoy: no route" in result.stdout
    assert f"1 error in {hello}: what they concern may be missing here" in result.stderr
