"""Small manifests as a user writes them, and short ways to say what was read from them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dragoman.document import Document
from dragoman.refs import Ref
from dragoman.sources.base import Update
from dragoman.sources.files import Files

GATEWAY = "gateway.networking.k8s.io"


def service(name: str, port: int = 80, namespace: str = "shop") -> str:
    return f"""\
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: {namespace}
spec:
  ports:
  - port: {port}
"""


def route(name: str, *hosts: str, namespace: str = "shop") -> str:
    listed = ", ".join(hosts or (f"{name}.example",))
    return f"""\
apiVersion: {GATEWAY}/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  parentRefs: [{{name: edge}}]
  hostnames: [{listed}]
  rules:
  - backendRefs: [{{name: {name}, port: 80}}]
"""


def documents(*texts: str) -> str:
    return "---\n".join(texts)


BROKEN = """\
apiVersion: v1
kind: Service
metadata: {name: [cart
spec: {}
"""


def ref(name: str, kind: str = "Service", namespace: str = "shop") -> Ref:
    return Ref(GATEWAY if kind == "HTTPRoute" else "", kind, namespace, name)


def names(update: Update) -> list[str]:
    """`Kind namespace/name` of what came, in its order."""
    return [str(document.ref) for document in update.upserts]


def ports(found: Iterable[Document]) -> dict[str, int]:
    """Name -> first port, of Services."""
    return {each.ref.name: each.body["spec"]["ports"][0]["port"] for each in found}


def said(update: Update) -> list[str]:
    """`CODE place` of every finding; the place's folder is left out."""
    out = []
    for each in update.diagnostics:
        place = str(each.span).rpartition("/")[2] if each.span else ""
        out.append(f"{each.code} {place}".rstrip())
    return out


def write(folder: Path, **texts: str) -> None:
    """`write(folder, cart=..., a__b=...)` writes `cart.yaml` and `a/b.yaml`."""
    for name, text in texts.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def load(*paths: Path) -> Update:
    return Files(paths).load()
