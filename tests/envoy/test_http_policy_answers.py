"""HTTPPolicy through the real Envoy: overrides by status, direct responses, maintenance; and explain."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.envoy import policy_site
from tests.envoy.policy_site import policy, route
from tests.harness.echo import Answer, Echo, Request

pytestmark = pytest.mark.envoy

NOBODY = (
    "{matches: [{path: {value: /nobody}}], backendRefs: [{group: dragoman.dev, kind: Backend, name: gone}]}"
)
MODIFIER = "{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-b, value: route 1%}]}}"
GONE = "---\nkind: Backend\nmetadata: {name: gone}\nspec: {endpoints: [{address: 127.0.0.1, port: 1}]}\n"


async def test_overrides(envoy_binary: Path) -> None:
    text = (
        GONE
        + route("all", "{backendRefs: [ECHO]}", NOBODY)
        + policy(
            "all",
            """
  responseOverride:
    rules:
    - statuses: [404]
      status: 410
      body:
        json: {error: "%RESPONSE_CODE%", path: "%REQ(:PATH)%", tags: [1, true, "50%%"], by: "%RESP(x-pod)%"}
      headers: [{name: x-request, value: "%REQ(x-id)%"}]
    - statuses: [5xx, 418]
      body: {text: "<p>100%% sorry, %REQ(x-id)%</p>", contentType: text/html}
    - statuses: [401]
""",
        )
    )
    text += route("headers", "{backendRefs: [ECHO], filters: [" + MODIFIER + "]}") + policy(
        "headers",
        """
  responseHeaders:
    set: [{name: x-a, value: "%REQ(x-id)%"}, {name: x-b, value: policy}]
    add: [{name: x-c, value: "1"}]
  responseOverride: {rules: [{statuses: [404], headers: [{name: x-c, value: override}]}]}
""",
    )
    text += route("envoy", "{backendRefs: [ECHO]}", NOBODY) + policy(
        "envoy",
        "  responseOverride: {rules: [{statuses: [503], madeBy: Envoy, body: {json: {error: busy}}}]}",
    )
    async with policy_site.running(envoy_binary, text) as site:
        reply = await site.ask("all", "/status/404", x_id="7")
        assert (reply.status, reply.headers["content-type"]) == (410, "application/json")
        assert json.loads(reply.body) == {
            "error": 404,
            "path": "/status/404",
            "tags": [1, True, "50%"],
            "by": "echo",
        }
        assert reply.headers["x-request"] == "7"
        assert "x-pod" not in reply.headers
        for path, status in (("/status/500", 500), ("/status/418", 418), ("/nobody", 503)):
            reply = await site.ask("all", path, x_id="7")
            assert (reply.status, reply.headers["content-type"]) == (status, "text/html")
            assert reply.body.strip() == b"<p>100% sorry, 7</p>"
        reply = await site.ask("all", "/status/401")
        assert (reply.status, reply.body) == (401, b"")
        assert b'"path"' in (await site.ask("all", "/status/403")).body
        # What all responses get, these get as well.
        reply = await site.ask("headers", "/status/404", x_id="7")
        assert [reply.headers[f"x-{name}"] for name in "abc"] == ["7", "route 1%", "override"]
        # Only what Envoy makes.
        reply = await site.ask("envoy", "/status/503")
        assert reply.headers["x-pod"] == "echo"
        assert json.loads((await site.ask("envoy", "/nobody")).body) == {"error": "busy"}


async def test_direct_responses(envoy_binary: Path) -> None:
    away = (
        "{matches: [{path: {value: /away}}], filters: [{type: RequestRedirect, requestRedirect: {port: 1}}]}"
    )
    text = route("json", "{backendRefs: [ECHO]}", away) + policy(
        "json",
        """
  directResponse:
    status: 418
    body: {json: {path: "%REQ(:PATH)%", client: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}}
    headers: [{name: x-a, value: "%REQ(x-id)%"}]
""",
    )
    text += route("empty") + policy("empty", "  directResponse: {status: 204}")
    long = "x%%" * 15_000
    text += route("text") + policy(
        "text", f"  directResponse: {{body: {{text: '{long}', contentType: text/html}}}}"
    )
    async with policy_site.running(envoy_binary, text) as site:
        reply = await site.ask("json", "/x?q=1", x_id="7")
        assert (reply.status, reply.headers["content-type"]) == (418, "application/json")
        assert json.loads(reply.body) == {"path": "/x?q=1", "client": "127.0.0.1"}
        assert reply.headers["x-a"] == "7"
        assert (await site.ask("json", "/away")).status == 302
        reply = await site.ask("empty")
        assert (reply.status, reply.body) == (204, b"")
        reply = await site.ask("text")
        assert (reply.status, reply.headers["content-type"]) == (200, "text/html")
        assert reply.body.strip() == b"x%" * 15_000
        assert site.backend.served == 0
        for host, path in (("json", "/x"), ("json", "/away"), ("empty", "/"), ("text", "/")):
            explained = site.explained(host, path)
            assert explained["status"] == (await site.ask(host, path)).status


class Broken(Echo):
    """Always 503."""

    def answer(self, request: Request) -> Answer:
        del request
        return Answer(503, b"the backend's own", (("x-pod", "broken"),))


async def test_maintenance(envoy_binary: Path) -> None:
    text = route("closed") + policy("closed", "  maintenance: {retryAfter: 90s}")
    text += route("looked") + policy(
        "looked",
        """
  maintenance:
    body: {text: "<h1>%REQ(:AUTHORITY)% is back soon</h1>", contentType: text/html}
    retryAfter: 2m
    exempt:
      headers: [{name: X-Operator, value: secret}, {name: x-any}]
      addresses: [10.0.0.0/8, "2001:db8::/32"]
""",
    )
    text += route("local") + policy("local", "  maintenance: {exempt: {addresses: [127.0.0.1]}}")
    text += route("remote") + policy("remote", "  maintenance: {exempt: {addresses: [10.0.0.0/8]}}")
    away = "{filters: [{type: RequestRedirect, requestRedirect: {port: 1}}]}"
    text += route("away", away) + policy("away", "  maintenance: {exempt: {headers: [{name: x-any}]}}")
    text += policy("edge", "  maintenance: {}", "Gateway")
    text += route("open") + policy("open", "  maintenance: {disabled: true}")
    text += route("inherits")
    more = (
        "  responseOverride: {rules: [{statuses: [5xx], body: {text: never}}]}\n"
        "  requestHeaders: {remove: [x-any]}\n  responseHeaders: {set: [{name: x-seen, value: always}]}"
    )
    text += route("spared") + policy(
        "spared", f"  maintenance: {{exempt: {{headers: [{{name: x-any}}]}}}}\n{more}"
    )
    text += route("spoken") + policy("spoken", f"  maintenance: {{}}\n{more}")
    cases: dict[tuple[str, ...], int] = {
        ("closed",): 503,
        ("looked",): 503,
        ("looked", "x-operator", "secret"): 200,
        ("looked", "x-operator", "wrong"): 503,
        ("looked", "x-any", "1"): 200,
        ("local",): 200,
        ("remote",): 503,
        ("remote", "x-envoy-external-address", "10.0.0.1"): 503,
        ("remote", "x-forwarded-for", "10.0.0.1"): 503,
        ("away",): 503,
        ("away", "x-any", "1"): 302,
        ("open",): 200,
        ("inherits",): 503,
    }
    async with policy_site.running(envoy_binary, text) as site:
        for (host, *header), status in cases.items():
            headers = {header[0]: header[1]} if header else {}
            reply = await site.ask(host, **headers)
            assert reply.status == status, (host, header)
            explained = site.explained(host, **headers)
            assert explained["status"] == (None if status == 200 else status), (host, header)
        reply = await site.ask("closed")
        assert reply.headers["retry-after"] == "90"
        assert reply.headers["content-type"] == "application/json"
        assert json.loads(reply.body) == {"error": "maintenance"}
        reply = await site.ask("looked")
        assert reply.headers["retry-after"] == "120"
        assert reply.headers["content-type"] == "text/html"
        assert reply.body.strip() == b"<h1>looked.test is back soon</h1>"
        for host in ("spared", "spoken"):
            reply = await site.ask(host)
            assert (reply.status, json.loads(reply.body)["error"]) == (503, "maintenance")
            assert reply.headers["x-seen"] == "always"
        assert (await site.ask("spared", **{"x-any": "1"})).status == 200
    # Before anybody asks who it is, and after preflights. Those who are exempt are asked.
    cors = "{backendRefs: [ECHO], filters: [{type: CORS, cors: {allowOrigins: ['https://a.test']}}]}"
    guarded = text + "---\nkind: AuthPolicy\nmetadata: {name: edge}\nspec:\n"
    guarded += "  targetRefs: [{kind: Gateway, name: edge}]\n  apiKeys: {}\n"
    guarded += route("asked", cors) + policy("asked", "  maintenance: {exempt: {headers: [{name: x-any}]}}")
    told = "  maintenance: {disabled: true}\n  directResponse: {status: 418}"
    guarded += route("told", cors) + policy("told", told)
    preflight = {"origin": "https://a.test", "access-control-request-method": "PUT"}
    async with policy_site.running(envoy_binary, guarded) as site:
        for host, status, headers in (
            ("closed", 503, {}),
            ("asked", 503, {}),
            ("asked", 401, {"x-any": "1"}),
            ("open", 401, {}),
            ("asked", 200, preflight),
            ("told", 401, preflight),  # it is no backend's that is asked for
        ):
            method = "OPTIONS" if headers is preflight else "GET"
            assert (await site.ask(host, method=method, **headers)).status == status, (host, headers)
            assert site.explained(host, method=method, **headers)["status"] == status, (host, headers)
    # Wherever the client's address is found.
    proxied = (
        text
        + "---\nkind: ClientPolicy\nmetadata: {name: edge}\nspec:\n"
        + ("  targetRefs: [{kind: Gateway, name: edge}]\n  clientAddress: {trustedNetworks: [127.0.0.0/8]}\n")
    )
    async with policy_site.running(envoy_binary, proxied) as site:
        seen = await site.seen(
            "remote", **{"x-forwarded-for": "10.1.2.3", "x-dragoman-client-address": "1.1.1.1"}
        )
        assert not [name for name in seen["headers"] if name.startswith("x-dragoman")]
        for said in (
            {},
            {"x-forwarded-for": "10.1.2.3, 192.0.2.1"},
            {"x-dragoman-client-address": "10.1.2.3"},
        ):
            assert (await site.ask("remote", **said)).status == 503
    async with policy_site.running(envoy_binary, text, Broken(policy_site.Identity("b"))) as site:
        reply = await site.ask("looked", **{"x-any": "1"})
        assert (reply.status, reply.body) == (503, b"the backend's own")


async def test_requests_that_no_route_matches(envoy_binary: Path) -> None:
    there = "{backendRefs: [ECHO], matches: [{path: {value: /there}}]}"
    text = route("a", there) + policy(
        "edge",
        """
  responseHeaders: {set: [{name: x-set, value: "1"}]}
  responseOverride:
    rules: [{statuses: [404], body: {json: {error: not found, path: "%REQ(:PATH)%"}}}]
""",
        "Gateway",
    )
    async with policy_site.running(envoy_binary, text) as site:
        for host, path in (("a", "/x"), ("b", "/y")):
            reply = await site.ask(host, path)
            assert (reply.status, reply.headers["x-set"]) == (404, "1")
            assert json.loads(reply.body) == {"error": "not found", "path": path}
            explained = site.explained(host, path)
            assert (explained["status"], explained["route"]["name"]) == (404, "unmatched")
        assert (await site.ask("a", "/there")).headers["x-pod"] == "echo"
    text = route("a", there) + policy("edge", "  maintenance: {}", "Gateway")
    async with policy_site.running(envoy_binary, text) as site:
        assert [(await site.ask("a", path)).status for path in ("/there", "/x")] == [503, 503]
