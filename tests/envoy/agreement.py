"""Random worlds of routes and random requests, made to collide: few hosts, few segments, few values.

For `test_explain_agrees.py`. Worlds are Gateway API documents, so the whole way is tried: translator,
pipeline, encoder, Envoy.
"""

from __future__ import annotations

from random import Random
from typing import Any

from dragoman.document import Document
from dragoman.ir.request import Request
from dragoman.refs import Ref
from tests.harness import manifests

Body = dict[str, Any]

PLAIN_LISTENERS = (None, "*.a.test", "a.test", "*.test", "x.a.test")
TLS_LISTENERS = ("a.test", "*.a.test", "*.test", "x.a.test")
DOMAINS = ("a.test", "b.test", "x.a.test", "y.x.a.test", "*.test", "*.a.test", "*.x.a.test")
HOSTS = (
    *("a.test", "A.Test", "b.test", "x.a.test", "q.a.test", "y.x.a.test", "q.y.x.a.test", "c.test", "test"),
    *(
        "other.org",
        "a.test:1234",
        "a.test.",
        "x.a.test.:80",
        "[::1]",
        "[::1]:80",
        "1.2.3.4",
        "a.test:",
        ".a.test",
    ),
)
NAMES = ("a.test", "A.test", "b.test", "x.a.test", "q.a.test", "q.x.a.test", "other.org")
BACKENDS = 5

EXACT = ("/", "/a", "/a/", "/a/b", "/ab", "/A", "/a/b/c", "/a%20b", "/~", "/a;x=1")
PREFIX = ("/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/b", "/a%20b")
REGEX = ("/a.*", "/[ab]+", "/a/b?", "/.*/c", "/(a|b)/[0-9]+", "(?i)/A/.*", "/a", ".*", "/%7Ba%7D")
SEGMENTS = (
    *("a", "a", "a", "b", "b", "ab", "A", "c", "1", "22"),
    *(
        ".",
        "..",
        "%2e",
        ".%2E",
        "",
        "%41",
        "a%20b",
        "a;x=1",
        "..;x",
        "%7e",
        "~",
        "{a}",
        "%2f",
        "%5C",
        "a|b",
        "%zz",
    ),
)
QUERIES = (
    "",
    "",
    "",
    "?",
    "?a=1",
    "?a=2&a=1",
    "?b=1&a=1",
    "?a",
    "?a=",
    "?A=1",
    "?a=%31",
    "?b=abc&a=1&",
    "?a=1?b=2",
)
HEADERS = ("x-a", "x-b", "accept", "X_A")
VALUES = ("1", "2", "abc", "", " 1 ", "1,2", "A")
METHODS = ("GET", "GET", "GET", "POST", "PUT", "DELETE", "OPTIONS")
SERVICES = ("a.B", "a.B", "a.Bc", "d.E")
RPCS = ("Get", "Get", "Put", "Getter")
CONTENT = (
    "application/grpc",
    "application/grpc",
    "application/grpc+proto",
    "application/grpc-web",
    "text/plain",
)
NAMES_BY_PATH = (("^/([a-z]*).*$", r"\1.test"), ("^.*$", "all.test"))
SUBSTITUTIONS = (
    ("^/([a-z]*)(.*)$", r"/\1.test\2"),
    ("^.*$", "/all"),
    ("a", "b%61"),
    ("/+", "/x/"),
    ("^/(a)?(.*)", r"/\2\1\\\1"),
)
ORIGINS = ("https://a.test", "https://x.a.test", "https://evil.example", "http://a.test", "null")


def documents(
    rng: Random, plain: tuple[int, int], grpc: int, tls: int, echo: int, certificate: tuple[str, str]
) -> list[Document]:
    """One Gateway on two plain ports, one for gRPC, one for TLS; some routes, some of them under policies;
    backends on port `echo`."""
    first = rng.sample(PLAIN_LISTENERS, rng.randint(1, 4))
    listeners = [manifests.listener(f"p{n}", plain[0], hostname=name) for n, name in enumerate(first)]
    listeners.append(manifests.listener("q", plain[1], hostname=rng.choice(PLAIN_LISTENERS)))
    for number, name in enumerate(rng.sample(TLS_LISTENERS, rng.randint(1, 4))):
        listeners.append(
            manifests.listener(f"t{number}", tls, protocol="HTTPS", hostname=name, secret="cert")
        )
    calls = manifests.listener("g", grpc)
    calls["allowedRoutes"] = {"kinds": [{"kind": "GRPCRoute"}]}
    routes = [
        route(rng, f"r{number}", [one["name"] for one in listeners]) for number in range(rng.randint(4, 14))
    ]
    bodies = [
        manifests.gateway_class(),
        manifests.gateway(*listeners, calls),
        *(grpc_route(rng, f"g{number}") for number in range(rng.randint(2, 5))),
        manifests.tls_secret("cert", *certificate),
        *(backend(f"b{number}", echo) for number in range(BACKENDS)),
        *routes,
        *(policy(rng, one["metadata"]["name"]) for one in routes if rng.random() < 0.4),
        client_policy(rng, "q"),
    ]
    return [document(body) for body in bodies]


def document(body: Body) -> Document:
    """As a source hands it over, without positions."""
    group, _, _ = body["apiVersion"].rpartition("/")
    meta = body["metadata"]
    return Document(Ref(group, body["kind"], meta.get("namespace", ""), meta["name"]), body)


def client_policy(rng: Random, listener: str) -> Body:
    """What is done to requests on one listener before a route is looked for."""
    either = (True, False)
    early: Body = {}
    if rng.random() < 0.5:
        early = {
            "set": [{"name": rng.choice(["x-a", "X-B"]), "value": rng.choice(["1", "abc"])}],
            "add": [{"name": "x-a", "value": "2"}],
            "remove": [rng.choice(["x-a", "x-b"])],
        }
    return {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "ClientPolicy",
        "metadata": {"name": "clients", "namespace": "shop"},
        "spec": {
            "targetRefs": [{"kind": "Gateway", "name": "edge", "sectionName": listener}],
            "paths": {
                "normalize": rng.choice(either),
                "mergeSlashes": rng.choice(either),
                "escapedSlashes": rng.choice(["Keep", "Reject", "Redirect", "Unescape"]),
            },
            "headers": {"underscores": rng.choice(["Drop", "Reject", "Allow"])},
            "earlyHeaders": early,
        },
    }


def backend(name: str, port: int) -> Body:
    return {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "Backend",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"endpoints": [{"address": "127.0.0.1", "port": port}]},
    }


def route(rng: Random, name: str, listeners: list[str]) -> Body:
    parents: list[Body] = [{"name": "edge"}]
    if rng.random() < 0.3:
        parents = [
            {"name": "edge", "sectionName": each} for each in rng.sample(listeners, min(2, len(listeners)))
        ]
    body = manifests.http_route(
        name,
        *(rule(rng) for _ in range(rng.randint(1, 4))),
        hostnames=rng.sample(DOMAINS, rng.randint(0, 3)),
    )
    body["spec"]["parentRefs"] = parents
    if rng.random() < 0.2:
        body["metadata"]["creationTimestamp"] = f"2026-01-0{rng.randint(1, 3)}T00:00:00Z"
    return body


def policy(rng: Random, name: str) -> Body:
    """Of what changes the answer: where a request goes, how, and whether at all."""
    spec: Body = {"targetRefs": [{"kind": "HTTPRoute", "name": name}]}
    if rng.random() < 0.5:
        path, host = rng.choice(SUBSTITUTIONS), rng.choice(NAMES_BY_PATH)
        spec["rewrite"] = {"path": dict(zip(("regex", "substitution"), path, strict=True))}
        if rng.random() < 0.6:
            by_path = {"path": dict(zip(("regex", "substitution"), host, strict=True))}
            spec["rewrite"]["host"] = rng.choice([{"name": "policy.test"}, {"header": "X-B"}, by_path])
    if rng.random() < 0.4:
        spec["queryParameters"] = {"remove": ["b"], "set": [{"name": "s", "value": "1 2"}]}
    if rng.random() < 0.4:
        spec["requestHeaders"] = rng.choice(
            [{"remove": ["x-b"]}, {"rename": [{"name": "x-a", "to": "x-b"}]}, {"removePrefixes": ["x-"]}]
        )
    if rng.random() < 0.2:
        spec["directResponse"] = {"status": rng.choice([200, 404]), "body": {"text": "%REQ(:PATH)%"}}
    if rng.random() < 0.2:
        exempt = rng.choice([{"headers": [{"name": "x-a", "value": "1"}]}, {"addresses": ["10.0.0.0/8"]}])
        spec["maintenance"] = rng.choice([{}, {"exempt": exempt}])
    return {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "HTTPPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": spec,
    }


def grpc_route(rng: Random, name: str) -> Body:
    return {
        "apiVersion": manifests.GATEWAY_API,
        "kind": "GRPCRoute",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "parentRefs": [{"name": "edge", "sectionName": "g"}],
            "hostnames": rng.sample(DOMAINS, rng.randint(0, 2)),
            "rules": [
                {
                    "matches": [grpc_match(rng) for _ in range(rng.randint(0, 2))],
                    "backendRefs": backend_refs(rng),
                }
                for _ in range(rng.randint(1, 3))
            ],
        },
    }


def grpc_match(rng: Random) -> Body:
    made: Body = {}
    if rng.random() < 0.9:
        patterns = rng.random() < 0.4
        method = {
            "service": rng.choice(["a\\.B.?", ".*E"] if patterns else SERVICES),
            "method": rng.choice(["Get.*", "P.t"] if patterns else RPCS),
        }
        if rng.random() < 0.5:
            del method[rng.choice(["service", "method"])]
        made["method"] = {"type": "RegularExpression" if patterns else "Exact", **method}
    if rng.random() < 0.3:
        made["headers"] = [value_match(rng, "x-a")]
    return made


def backend_refs(rng: Random) -> list[Body]:
    refs = [f"b{number}" for number in rng.sample(range(BACKENDS), rng.choice([1, 1, 2]))]
    if rng.random() < 0.1:
        refs.append("missing")
    return [
        {"group": "dragoman.dev", "kind": "Backend", "name": ref, "weight": rng.choice([1, 1, 1, 0, 3])}
        for ref in refs
    ]


def rule(rng: Random) -> Body:
    prefixes_only = rng.random() < 0.4
    matches = [match(rng, prefixes_only) for _ in range(rng.randint(0, 3))]
    made: Body = {"matches": matches} if matches else {}
    kind = rng.random()
    if kind < 0.15:
        made["filters"] = [{"type": "RequestRedirect", "requestRedirect": redirect(rng, prefixes_only)}]
        return made
    if kind < 0.45:
        rewrite: Body = {}
        if rng.random() < 0.4:
            rewrite["hostname"] = rng.choice(["inner.test", "b.test"])
        if rng.random() < 0.8 or not rewrite:
            rewrite["path"] = path_change(rng, prefixes_only)
        made["filters"] = [{"type": "URLRewrite", "urlRewrite": rewrite}]
    if rng.random() < 0.3:
        origins = rng.choice([["*"], ["https://*.test"], ["https://a.test", "http://*.example"]])
        made.setdefault("filters", []).append({"type": "CORS", "cors": {"allowOrigins": origins}})
    made["backendRefs"] = backend_refs(rng)
    return made


def match(rng: Random, prefixes_only: bool) -> Body:
    kind = "PathPrefix" if prefixes_only else rng.choice(["Exact", "PathPrefix", "RegularExpression"])
    pool = {"Exact": EXACT, "PathPrefix": PREFIX, "RegularExpression": REGEX}[kind]
    made: Body = {"path": {"type": kind, "value": rng.choice(pool)}}
    if rng.random() < 0.25:
        made["method"] = rng.choice(METHODS)
    if rng.random() < 0.3:
        made["headers"] = [value_match(rng, name) for name in rng.sample(HEADERS[:3], rng.randint(1, 2))]
    if rng.random() < 0.2:
        made["queryParams"] = [value_match(rng, name) for name in rng.sample(["a", "b"], rng.randint(1, 2))]
    return made


def value_match(rng: Random, name: str) -> Body:
    if rng.random() < 0.3:
        return {"type": "RegularExpression", "name": name, "value": rng.choice(["[0-9]", "a.*", ".*", "1|2"])}
    return {"name": name, "value": rng.choice(["1", "1", "2", "abc", "1,2"])}


def path_change(rng: Random, prefixes_only: bool) -> Body:
    if prefixes_only and rng.random() < 0.7:
        return {
            "type": "ReplacePrefixMatch",
            "replacePrefixMatch": rng.choice(["/", "/n", "/n/", "/n/m", ""]),
        }
    return {"type": "ReplaceFullPath", "replaceFullPath": rng.choice(["/full", "/", "/full/"])}


def redirect(rng: Random, prefixes_only: bool) -> Body:
    made: Body = {}
    if rng.random() < 0.5:
        made["scheme"] = rng.choice(["http", "https"])
    if rng.random() < 0.4:
        made["hostname"] = "moved.test"
    if rng.random() < 0.3:
        made["port"] = rng.choice([80, 443, 8443])
    if rng.random() < 0.5:
        made["path"] = path_change(rng, prefixes_only)
    if rng.random() < 0.5:
        made["statusCode"] = rng.choice([301, 302, 303, 307, 308])
    return made


def plain_request(rng: Random, ports: tuple[int, int]) -> Request:
    return _request(rng, rng.choice(HOSTS), "http", rng.choice(ports), None)


def grpc_request(rng: Random, port: int) -> Request:
    """A call, mostly: the content type decides."""
    path = f"/{rng.choice(SERVICES)}/{rng.choice(RPCS)}" if rng.random() < 0.9 else rng.choice(EXACT)
    headers = [("content-type", rng.choice(CONTENT))] if rng.random() < 0.9 else []
    if rng.random() < 0.5:
        headers.append(("x-a", rng.choice(["1", "2", "abc"])))
    host = rng.choice(HOSTS[:9])
    return Request(
        authority=host, path=path, method="POST", headers=tuple(headers), port=port, address="127.0.0.1"
    )


def tls_request(rng: Random, port: int, server_name: str) -> Request:
    """On a connection that was made for `server_name`: mostly for it, sometimes for another host."""
    host = server_name if rng.random() < 0.6 else rng.choice(HOSTS)
    return _request(rng, host, "https", port, server_name)


def _request(rng: Random, host: str, scheme: str, port: int, sni: str | None) -> Request:
    path = "/" + "/".join(
        rng.choice(SEGMENTS[:10] if rng.random() < 0.7 else SEGMENTS) for _ in range(rng.randint(0, 4))
    )
    headers = [(rng.choice(HEADERS), rng.choice(VALUES)) for _ in range(rng.choice([0, 0, 1, 2, 3]))]
    method = rng.choice(METHODS)
    if method == "OPTIONS" or rng.random() < 0.1:
        headers.append(("origin", rng.choice(ORIGINS)))
        if rng.random() < 0.8:
            headers.append(("access-control-request-method", "PUT"))
    return Request(
        authority=host,
        path=path + ("/" if rng.random() < 0.1 else "") + rng.choice(QUERIES),
        method=method,
        scheme=scheme,
        headers=tuple(headers),
        port=port,
        address="127.0.0.1",
        sni=sni,
    )
