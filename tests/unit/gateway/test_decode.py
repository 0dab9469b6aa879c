"""Decoding: what is refused, with which code, at which path, and with what help."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.refs import format_path
from dragoman.translators import base
from dragoman.translators.gateway import decode as subject


def decode(text: str, documents: Any) -> base.Decoded:
    (document,) = documents(text)
    return subject.decode(document)


def complaints(decoded: base.Decoded) -> list[str]:
    return [f"{d.code} {format_path(d.path)}" for d in decoded.diagnostics]


ROUTE = "kind: HTTPRoute\nmetadata: {name: r}\nspec: "
GATEWAY = "kind: Gateway\nmetadata: {name: g}\nspec: {gatewayClassName: dragoman, "
POLICY = "kind: TrafficPolicy\nmetadata: {name: p}\nspec: "
BACKEND = "kind: Backend\nmetadata: {name: b}\nspec: "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # unknown, missing, malformed, out of range
        (ROUTE + "{parentRef: []}", ["DRG1101 spec.parentRef"]),
        (
            ROUTE + "{rules: [{backendRefs: [{nmae: a}]}]}",
            ["DRG1102 spec.rules[0].backendRefs[0]", "DRG1101 spec.rules[0].backendRefs[0].nmae"],
        ),
        (ROUTE + "{hostnames: [Shop.example]}", ["DRG1103 spec.hostnames[0]"]),
        (ROUTE + "{hostnames: ['*']}", ["DRG1103 spec.hostnames[0]"]),
        (ROUTE + "{hostnames: shop.example}", ["DRG1103 spec.hostnames"]),
        (
            ROUTE + "{rules: [{backendRefs: [{name: a, port: 80800}]}]}",
            ["DRG1104 spec.rules[0].backendRefs[0].port"],
        ),
        (
            ROUTE + "{rules: [{backendRefs: [{name: a, port: '80'}]}]}",
            ["DRG1103 spec.rules[0].backendRefs[0].port"],
        ),
        (
            ROUTE + "{rules: [{backendRefs: [{name: a, port: 80, weight: -1}]}]}",
            ["DRG1104 spec.rules[0].backendRefs[0].weight"],
        ),
        (
            ROUTE + "{rules: [{backendRefs: [{name: a, port: 80, weight: true}]}]}",
            ["DRG1103 spec.rules[0].backendRefs[0].weight"],
        ),
        (
            ROUTE + "{rules: [{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, "
            'replaceFullPath: "/a\\nb"}}}]}]}',
            ["DRG1103 spec.rules[0].filters[0].urlRewrite.path.replaceFullPath"],
        ),
        (ROUTE + "{rules: []}", ["DRG1107 spec.rules"]),
        (
            GATEWAY + "infrastructure: {labels: {a.example/team: shop, 'a b': c, d: 'e f'}, "
            "annotations: {a/b/c: d}}, listeners: [{name: a, port: 1, protocol: HTTP}]}",
            [
                "DRG1103 spec.infrastructure.labels.a b",
                "DRG1103 spec.infrastructure.labels.d",
                "DRG1103 spec.infrastructure.annotations.a/b/c",
            ],
        ),
        # listed twice
        (
            ROUTE + "{rules: [{matches: [{headers: [{name: a, value: b}, {name: A, value: c}, "
            "{name: a, value: d}], queryParams: [{name: q, value: b}, {name: q, value: b}]}]}]}",
            [
                "DRG1108 spec.rules[0].matches[0].headers[2].name",
                "DRG1108 spec.rules[0].matches[0].queryParams[1].name",
            ],
        ),
        (
            ROUTE + "{rules: [{filters: [{type: RequestHeaderModifier, requestHeaderModifier: "
            "{set: [{name: a, value: b}, {name: a, value: b}], remove: [c, d, c]}}]}]}",
            [
                "DRG1108 spec.rules[0].filters[0].requestHeaderModifier.set[1].name",
                "DRG1108 spec.rules[0].filters[0].requestHeaderModifier.remove[2]",
            ],
        ),
        (
            ROUTE + "{rules: [{filters: [{type: CORS, cors: {allowMethods: [GET, PUT, GET]}}], "
            "retry: {codes: [500, 500]}}]}",
            ["DRG1108 spec.rules[0].filters[0].cors.allowMethods[2]", "DRG1108 spec.rules[0].retry.codes[1]"],
        ),
        (
            ROUTE.replace("HTTP", "GRPC") + "{rules: [{matches: [{headers: [{name: a, value: b}, "
            "{name: a, value: c}]}]}]}",
            ["DRG1108 spec.rules[0].matches[0].headers[1].name"],
        ),
        (ROUTE + "{rules: [{matches: [{method: get}]}]}", ["DRG1106 spec.rules[0].matches[0].method"]),
        (ROUTE + "{rules: [{timeouts: {request: 10}}]}", ["DRG1103 spec.rules[0].timeouts.request"]),
        (ROUTE + "{rules: [{timeouts: {request: 1.5s}}]}", ["DRG1103 spec.rules[0].timeouts.request"]),
        (
            ROUTE + "{rules: [{matches: [{headers: [{name: 'a b', value: c}]}]}]}",
            ["DRG1103 spec.rules[0].matches[0].headers[0].name"],
        ),
        (ROUTE + "{rules: [{retry: {codes: [200]}}]}", ["DRG1104 spec.rules[0].retry.codes[0]"]),
        (ROUTE + "{rules: [{retry: {attempts: 0}}]}", ["DRG1104 spec.rules[0].retry.attempts"]),
        (ROUTE, ["DRG1102 "]),
        ("kind: HTTPRoute\nmetadata: {name: r, lables: {}}\nspec: {}", ["DRG1101 metadata.lables"]),
        ("kind: HTTPRoute\nmetadata: {name: r, labels: {a: 1}}\nspec: {}", ["DRG1103 metadata.labels.a"]),
        (
            "kind: HTTPRoute\nmetadata: {name: r, labels: {1: a, b: c}}\nspec: {}",
            ["DRG1103 metadata.labels.1"],
        ),
        ("kind: HTTPRoute\nmetadata: {name: r}\nspecs: {}\nspec: {}", ["DRG1101 specs"]),
        ("kind: HTTPRoute\nmetadata: {name: r}\nrules: []\nspec: {}", ["DRG1101 rules"]),
        (
            "kind: HTTPRoute\napiVersion: gateway.networking.k8s.io/v2\nmetadata: {name: r}\nspec: {}",
            ["DRG1109 apiVersion"],
        ),
        # paths
        (
            ROUTE + "{rules: [{matches: [{path: {value: shop}}]}]}",
            ["DRG1103 spec.rules[0].matches[0].path.value"],
        ),
        (
            ROUTE + "{rules: [{matches: [{path: {value: /a//b}}]}]}",
            ["DRG1103 spec.rules[0].matches[0].path.value"],
        ),
        (
            ROUTE + "{rules: [{matches: [{path: {value: /a/../b}}]}]}",
            ["DRG1103 spec.rules[0].matches[0].path.value"],
        ),
        (
            ROUTE + "{rules: [{matches: [{path: {value: /a/..}}]}]}",
            ["DRG1103 spec.rules[0].matches[0].path.value"],
        ),
        (
            ROUTE + "{rules: [{matches: [{path: {value: /a%2Fb}}]}]}",
            ["DRG1103 spec.rules[0].matches[0].path.value"],
        ),
        (
            ROUTE + "{rules: [{matches: [{path: {value: '/a#b'}}]}]}",
            ["DRG1103 spec.rules[0].matches[0].path.value"],
        ),
        (
            ROUTE + "{rules: [{matches: [{path: {value: '/ä'}}]}]}",
            ["DRG1103 spec.rules[0].matches[0].path.value"],
        ),
        # rules across fields
        (ROUTE + "{rules: [{name: a}, {name: a}]}", ["DRG1108 spec.rules[1].name"]),
        (ROUTE + "{rules: [{backendRefs: [{name: a}]}]}", ["DRG1102 spec.rules[0].backendRefs[0]"]),
        (
            ROUTE + "{rules: [{timeouts: {request: 1s, backendRequest: 2s}}]}",
            ["DRG1108 spec.rules[0].timeouts.backendRequest"],
        ),
        (ROUTE + "{rules: [{filters: [{type: CORS}]}]}", ["DRG1102 spec.rules[0].filters[0]"]),
        (
            ROUTE + "{rules: [{filters: [{type: CORS, cors: {}, urlRewrite: {}}]}]}",
            ["DRG1108 spec.rules[0].filters[0].urlRewrite"],
        ),
        (
            ROUTE + "{rules: [{filters: [{type: CORS, cors: {}}, {type: CORS, cors: {}}]}]}",
            ["DRG1108 spec.rules[0].filters"],
        ),
        (
            ROUTE + "{rules: [{filters: [{type: CORS, cors: {allowOrigins: ['*', 'https://a.example']}}]}]}",
            ["DRG1108 spec.rules[0].filters[0].cors.allowOrigins"],
        ),
        (
            ROUTE + "{rules: [{filters: [{type: URLRewrite, urlRewrite: {}}, {type: "
            "RequestRedirect, requestRedirect: {}}]}]}",
            ["DRG1108 spec.rules[0].filters"],
        ),
        (
            ROUTE + "{rules: [{backendRefs: [{name: a, port: 1}], filters: [{type: "
            "RequestRedirect, requestRedirect: {}}]}]}",
            ["DRG1108 spec.rules[0].backendRefs"],
        ),
        (
            ROUTE + "{rules: [{matches: [{path: {type: Exact, value: /a}}], filters: "
            "[{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}]}]}",
            ["DRG1108 spec.rules[0].filters[0].urlRewrite.path.type"],
        ),
        (
            ROUTE + "{rules: [{matches: [{path: {value: /a}}, {path: {value: /b}}], filters: "
            "[{type: RequestRedirect, requestRedirect: {path: {type: "
            "ReplacePrefixMatch, replacePrefixMatch: /b}}}]}]}",
            ["DRG1108 spec.rules[0].filters[0].requestRedirect.path.type"],
        ),
        (
            ROUTE + "{rules: [{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath}}}]}]}",
            ["DRG1102 spec.rules[0].filters[0].urlRewrite.path"],
        ),
        (
            ROUTE + "{rules: [{filters: [{type: RequestMirror, requestMirror: "
            "{backendRef: {name: a, port: 1}, percent: 1, fraction: {numerator: 2, denominator: 1}}}]}]}",
            [
                "DRG1108 spec.rules[0].filters[0].requestMirror.percent",
                "DRG1104 spec.rules[0].filters[0].requestMirror.fraction.numerator",
            ],
        ),
        (
            ROUTE + "{rules: [{sessionPersistence: {cookieConfig: {lifetimeType: Permanent}}}]}",
            ["DRG1102 spec.rules[0].sessionPersistence"],
        ),
        (
            ROUTE + "{rules: [{sessionPersistence: {type: Header, cookieConfig: {}}}]}",
            ["DRG1108 spec.rules[0].sessionPersistence.cookieConfig"],
        ),
        (ROUTE + "{parentRefs: [{name: a}, {name: a}]}", ["DRG1108 spec.parentRefs[1]"]),
        (ROUTE + "{parentRefs: [{name: a}, {name: a, port: 80}]}", ["DRG1108 spec.parentRefs[1]"]),
        # Gateway
        (GATEWAY + "listeners: []}", ["DRG1107 spec.listeners"]),
        (
            GATEWAY + "listeners: [{name: a, port: 1, protocol: HTTP}, {name: a, port: 2, protocol: HTTP}]}",
            ["DRG1108 spec.listeners[1].name"],
        ),
        (
            GATEWAY + "listeners: [{name: a, port: 1, protocol: HTTP, tls: {certificateRefs: [{name: c}]}}]}",
            ["DRG1108 spec.listeners[0].tls"],
        ),
        (
            GATEWAY + "listeners: [{name: a, port: 1, protocol: HTTPS, tls: {mode: Passthrough}}]}",
            ["DRG1108 spec.listeners[0].tls.mode"],
        ),
        (
            GATEWAY + "listeners: [{name: a, port: 1, protocol: HTTPS, tls: {}}]}",
            ["DRG1102 spec.listeners[0].tls"],
        ),
        (
            GATEWAY + "listeners: [{name: a, port: 1, protocol: HTTP, allowedRoutes: "
            "{namespaces: {from: Selector}}}]}",
            ["DRG1102 spec.listeners[0].allowedRoutes.namespaces"],
        ),
        (
            GATEWAY + "listeners: [{name: a, port: 1, protocol: HTTP, allowedRoutes: {namespaces: "
            "{from: Selector, selector: {matchExpressions: [{key: a, operator: In}]}}}}]}",
            ["DRG1108 spec.listeners[0].allowedRoutes.namespaces.selector.matchExpressions[0].values"],
        ),
        # Backend
        (BACKEND + "{endpoints: [{hostname: a, address: 10.0.0.1, port: 1}]}", ["DRG1108 spec.endpoints[0]"]),
        (BACKEND + "{endpoints: [{hostname: a.example}]}", ["DRG1102 spec.endpoints[0]"]),
        (BACKEND + "{endpoints: [{address: a.example, port: 1}]}", ["DRG1103 spec.endpoints[0].address"]),
        (BACKEND + "{endpoints: [{unix: /a, port: 1}]}", ["DRG1108 spec.endpoints[0].port"]),
        (BACKEND + "{endpoints: [{unix: relative}]}", ["DRG1103 spec.endpoints[0].unix"]),
        (BACKEND + "{endpoints: [{unix: /a}, {hostname: b, port: 1}]}", ["DRG1108 spec.endpoints[0].unix"]),
        (BACKEND + "{endpoints: [{address: 10.0.0.1, port: 1}], protocol: Auto}", ["DRG1108 spec.protocol"]),
        (BACKEND + "{endpoints: [{address: 10.0.0.1, port: 1}], tls: {}}", ["DRG1102 spec.tls"]),
        (
            BACKEND + "{endpoints: [{address: 10.0.0.1, port: 1}], connectTimeout: 0s}",
            ["DRG1104 spec.connectTimeout"],
        ),
        (
            BACKEND + "{endpoints: [{hostname: a, port: 1}], tls: {wellKnownCACertificates: "
            "System, caCertificateRefs: [{name: c}]}}",
            ["DRG1108 spec.tls.wellKnownCACertificates"],
        ),
        # core kinds: unknown fields are not ours to judge, their values are
        (
            "kind: Service\nmetadata: {name: s}\nspec: {foo: 1, ports: [{port: 0}]}",
            ["DRG1104 spec.ports[0].port"],
        ),
        ("kind: Secret\nmetadata: {name: s}\ndata: {a: '*'}", ["DRG1501 data.a"]),
        (
            "kind: Secret\nmetadata: {name: s}\ntype: kubernetes.io/tls\ndata: {tls.crt: aGk=}",
            ["DRG1504 data"],
        ),
        (
            (
                "kind: Secret\nmetadata: {name: s}\ntype: "
                "kubernetes.io/tls\ndata: {tls.crt: aGk=, tls.key: aGk=}"
            ),
            ["DRG1502 data.tls.crt"],
        ),
        (
            "kind: EndpointSlice\nmetadata: {name: s}\naddressType: IPv5\nendpoints: []",
            ["DRG1106 addressType"],
        ),
    ],
)
def test_refusals(text: str, expected: list[str], documents: Any) -> None:
    decoded = decode(text, documents)
    assert decoded.object is None
    assert complaints(decoded) == expected


@pytest.mark.parametrize(
    "text",
    [
        ROUTE + "{}",
        ROUTE + "{rules: null, hostnames: null}",
        ROUTE + "{rules: [{matches: [{path: {type: RegularExpression, value: 'no slash'}}]}]}",
        ROUTE + "{rules: [{matches: [{path: {value: '/~a/%20b/@:c'}}]}]}",
        ROUTE + "{rules: [{timeouts: {request: 0s, backendRequest: 2s}}]}",
        ROUTE + "{parentRefs: [{name: a, sectionName: x}, {name: a, sectionName: y}, {name: b}]}",
        (
            "kind: GRPCRoute\nmetadata: {name: r}\n"
            "spec: {rules: [{matches: [{headers: [{name: a, value: 'b  c'}]}]}]}"
        ),
        GATEWAY + "listeners: [{name: a, port: 1, protocol: HTTP}]}",
        BACKEND + "{endpoints: [{address: '::1', port: 1}, {unix: /run/a.sock}]}",
        "kind: Service\nmetadata: {name: s}\nspec: {clusterIP: None, ports: [{port: 80, targetPort: http}]}",
        "kind: Secret\nmetadata: {name: s}\nstringData: {a: b}",
        "kind: ConfigMap\nmetadata: {name: s}",
        "kind: Namespace\nmetadata: {name: s}",
    ],
)
def test_accepted(text: str, documents: Any) -> None:
    decoded = decode(text, documents)
    assert complaints(decoded) == []
    assert decoded.object is not None


def test_all_mistakes_at_once(documents: Any) -> None:
    text = ROUTE + "{hostnames: [A], rules: [{backendRefs: [{name: a, port: 0}], nmae: x}]}"
    assert complaints(decode(text, documents)) == [
        "DRG1103 spec.hostnames[0]",
        "DRG1104 spec.rules[0].backendRefs[0].port",
        "DRG1101 spec.rules[0].nmae",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ROUTE + "{hostname: [a]}", "did you mean `hostnames`?"),
        (ROUTE + "{rules: [{matches: [{path: {type: Prefix}}]}]}", "did you mean `PathPrefix`?"),
        ("kind: HTTPRoute\nmetadata: {name: r}\nhostnames: []\nspec: {}", "`hostnames` goes below `spec`"),
        ("kind: HTTPRoute\nmetadata: {name: r, label: {}}\nspec: {}", "did you mean `labels`?"),
        (ROUTE + "{rules: [{matches: [{path: {value: shop}}]}]}", "write `/shop`"),
        (
            POLICY + "{targetRefs: [{kind: HTTPRoute, name: r, namespace: other}]}",
            "the namespace of the object itself is meant",
        ),
    ],
)
def test_help(text: str, said: str, documents: Any) -> None:
    (finding,) = decode(text, documents).diagnostics
    assert finding.help == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ROUTE + "{rules: [{backendRefs: [{name: a, port: 80800}]}]}", "expected 1 to 65535"),
        (ROUTE + f"{{rules: [{{backendRefs: [{{name: a, port: {'9' * 40}}}]}}]}}", "expected 1 to 65535"),
        (
            ROUTE + "{rules: [{backendRefs: [{name: a, port: '80'}]}]}",
            "expected a whole number (without quotes)",
        ),
        (
            ROUTE + "{rules: [{matches: [{method: get}]}]}",
            "expected GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE or PATCH",
        ),
        (ROUTE + "{rules: []}", "expected 1 to 16 entries"),
        (
            ROUTE + "{parentRefs: [{name: yes}]}",
            "expected text: quote it, for YAML reads y, n, yes, no, on and off as true or false",
        ),
        (
            ROUTE + "{rules: [{timeouts: {request: soon}}]}",
            "expected a duration such as 250ms, 10s, 1m30s or 2h",
        ),
    ],
)
def test_labels(text: str, said: str, documents: Any) -> None:
    (finding,) = decode(text, documents).diagnostics
    assert finding.label == said


def test_metadata(documents: Any) -> None:
    text = """
kind: Namespace
metadata:
  name: n
  creationTimestamp: 2024-01-02T03:04:05Z
  generation: 7
  labels: {b: x, a: y}
  annotations: {kubectl.kubernetes.io/last-applied-configuration: "{}", c: z}
"""
    decoded = decode(text, documents)
    assert decoded.object is not None
    assert decoded.object.meta == base.Meta(
        (("a", "y"), ("b", "x")), (("c", "z"),), "2024-01-02T03:04:05Z", 7
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("'2024-01-02T03:04:05Z'", "2024-01-02T03:04:05Z"),
        ("'2024-01-02T03:04:05.678Z'", "2024-01-02T03:04:05Z"),
        ("'2024-01-02T05:04:05+02:00'", "2024-01-02T03:04:05Z"),
        ("'2024-01-02'", "2024-01-02T00:00:00Z"),
        ("null", ""),
    ],
)
def test_times_are_of_one_form(given: str, expected: str, documents: Any) -> None:
    """Precedence compares them as text."""
    decoded = decode(f"kind: Namespace\nmetadata: {{name: n, creationTimestamp: {given}}}", documents)
    assert decoded.object is not None
    assert decoded.object.meta.created == expected


@pytest.mark.parametrize("given", ["yesterday", "'2024-13-01T00:00:00Y'", "[]", "{a: b}", "true"])
def test_what_is_no_time(given: str, documents: Any) -> None:
    decoded = decode(f"kind: Namespace\nmetadata: {{name: n, creationTimestamp: {given}}}", documents)
    assert complaints(decoded) == (["DRG1103 metadata.creationTimestamp"] if given != "[]" else [])


def test_secrets_are_not_shown(documents: Any) -> None:
    text = "kind: Secret\nmetadata: {name: s}\ndata: {a: aHVudGVyMg==}\nstringData: {b: hunter2}"
    decoded = decode(text, documents)
    assert "hunter2" not in repr(decoded)
    assert "aHVudGVyMg" not in repr(decoded)
    wrong = decode("kind: Secret\nmetadata: {name: s}\nstringData: {b: [hunter2]}", documents)
    assert wrong.object is None
    assert "hunter2" not in repr(wrong)
