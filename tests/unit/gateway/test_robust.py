"""Whatever a document holds, decoding and translating it gives findings, never an exception."""

from __future__ import annotations

import copy
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings, strategies as st

from dragoman.document import Document

DOCUMENTS = """
kind: Gateway
metadata: {name: edge, labels: {a: b}}
spec:
  gatewayClassName: dragoman
  addresses: [{value: 127.0.0.1}]
  listeners:
  - {name: a, port: 80, protocol: HTTP, hostname: a.example, allowedRoutes: {kinds: [{kind: HTTPRoute}]}}
  - {name: b, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: c}], options: {a: b}}}
---
kind: HTTPRoute
metadata: {name: route, annotations: {dragoman.dev/priority: '1'}, generation: 1}
spec:
  parentRefs: [{name: edge, sectionName: a}]
  hostnames: [a.example]
  rules:
  - name: n
    matches: [{path: {type: Exact, value: /a}, headers: [{name: a, value: b}], method: GET}]
    filters:
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}], remove: [c]}}
    - {type: RequestMirror, requestMirror: {backendRef: {name: shop, port: 8080}, percent: 5}}
    - {type: CORS, cors: {allowOrigins: ['*'], maxAge: 4}}
    backendRefs: [{name: shop, port: 8080, weight: 1, filters: []}]
    timeouts: {request: 1s}
    retry: {codes: [500], attempts: 1}
    sessionPersistence: {type: Cookie, absoluteTimeout: 1h}
---
kind: Service
metadata: {name: shop}
spec: {type: ClusterIP, ports: [{port: 8080, name: http, targetPort: 80, appProtocol: http}]}
---
kind: EndpointSlice
metadata: {name: shop-1, labels: {kubernetes.io/service-name: shop}}
addressType: IPv4
ports: [{name: http, port: 80}]
endpoints: [{addresses: [10.0.0.1], conditions: {ready: true}, zone: z}]
---
kind: Secret
metadata: {name: c}
type: kubernetes.io/tls
data: {tls.crt: YQ==}
stringData: {tls.key: b}
---
kind: Backend
metadata: {name: b}
spec:
  endpoints: [{hostname: a.example, port: 1, weight: 2, priority: 3, zone: z}]
  tls: {hostname: a, caCertificateRefs: [{name: a}], subjectAltNames: [b]}
---
kind: ReferenceGrant
metadata: {name: g}
spec: {from: [{group: a, kind: B, namespace: c}], to: [{group: '', kind: D}]}
---
kind: GatewayClass
metadata: {name: x}
spec: {controllerName: a.example/b, parametersRef: {group: a, kind: B, name: c}}
---
kind: ConfigMap
metadata: {name: m}
data: {ca.crt: x}
---
kind: Namespace
metadata: {name: n, labels: {a: b}}
"""
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["*", "a" * 300, "\x00", "(", "%", "\ud800", "/", "0s", "99999h"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3) | st.integers(0, 3), st.integers() | st.text(max_size=3), max_size=3),
    st.dates(),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything in a document but its kind and name."""
    found = [path] if path and path[0] not in ("kind", "apiVersion") and path not in UNTOUCHED else []
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, item in entries:
        found += places(item, (*path, key))
    return found


UNTOUCHED = ((), ("metadata", "name"))


def put(body: Any, path: tuple[Any, ...], value: Any) -> None:
    for step in path[:-1]:
        body = body[step]
    body[path[-1]] = value


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_anything(data: st.DataObject, shop: Any, documents: Any) -> None:
    bodies = [document.body for document in documents(DOCUMENTS)]
    body = copy.deepcopy(dict(data.draw(st.sampled_from(bodies))))
    name = body["metadata"]["name"]
    for _ in range(data.draw(st.integers(1, 3))):
        here = places(body)
        path = data.draw(st.sampled_from(here))
        put(body, path, data.draw(ODD))
    (original,) = documents(yaml.safe_dump({"kind": body["kind"], "metadata": {"name": name}}))
    shop.put(Document(original.ref, body))
    shop.graph.commit()
    for diagnostic in shop.rejected[original.ref]:
        assert diagnostic.message
        repr(diagnostic)
