"""The objects that benchmarks work on: realistic in shape, any number of them.

Each HTTPRoute has a host name of its own, two rules (one with a header filter, one with a header match) and a
Service with an EndpointSlice of its own. `revision` is what a change changes: a response header, so that a
client sees from outside which version is served. All endpoints are one real backend.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import yaml

from tests.harness import manifests
from tests.harness.manifests import Body

NAMESPACE = "shop"


SHARED = 999_999
"""The number of the Service for all."""


def host(number: int) -> str:
    return f"r{number}.example.com"


def route(number: int, *, revision: int = 0, service: int | None = None) -> Body:
    backend = f"s{number if service is None else service}"
    first = manifests.rule(
        backend,
        path="/",
        filters=[
            {
                "type": "ResponseHeaderModifier",
                "responseHeaderModifier": {"set": [{"name": "x-revision", "value": str(revision)}]},
            }
        ],
    )
    second = manifests.rule(backend, path="/api")
    second["matches"][0]["headers"] = [{"name": "x-version", "value": "two"}]
    return manifests.http_route(f"r{number}", first, second, hostnames=[host(number)])


def service(number: int) -> Body:
    return manifests.service(f"s{number}")


def endpoints(number: int, port: int) -> Body:
    return manifests.endpoint_slice(f"s{number}", port)


def gateway(port: int) -> list[Body]:
    return [manifests.gateway_class(), manifests.gateway(manifests.listener("http", port))]


def bundle(number: int, backend: int, *, revision: int = 0) -> list[Body]:
    """What stands in one file: a route and its backend."""
    return [route(number, revision=revision), service(number), endpoints(number, backend)]


def everything(count: int, *, listen: int, backend: int, alone: bool = False) -> Iterator[list[Body]]:
    """`alone`: routes without Services of their own, and one for all."""
    yield gateway(listen)
    if alone:
        yield shared(backend)
    for number in range(count):
        yield [route(number, service=SHARED)] if alone else bundle(number, backend)


def shared(backend: int) -> list[Body]:
    """A Service for routes that have none of their own."""
    return [service(SHARED), endpoints(SHARED, backend)]


def write(
    folder: Path, count: int, *, listen: int, backend: int, apart: bool = False, alone: bool = False
) -> None:
    """One YAML file per route, block style, as people write it. `apart`: one per object, as they change in
    Kubernetes. `alone`: as `everything` says."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gateway.yaml").write_text(text(gateway(listen)))
    # One dump, then replacement of the few things that differ: dumping 10,000 files would take a minute.
    marker, other = 987654321, 987654320
    whole = [route(marker, service=SHARED)] if alone else bundle(marker, other)
    if alone:
        (folder / "shared.yaml").write_text(text(shared(backend)))
    files = dict(zip((path, service_path, endpoints_path), ([one] for one in whole), strict=not alone))
    patterns = {place: text(bodies) for place, bodies in (files if apart else {path: whole}).items()}
    for number in range(count):
        for place, pattern in patterns.items():
            filled = pattern.replace(str(marker), str(number)).replace(str(other), str(backend))
            place(folder, number).write_text(filled)


def path(folder: Path, number: int) -> Path:
    return folder / f"r{number}.yaml"


def service_path(folder: Path, number: int) -> Path:
    return folder / f"s{number}.yaml"


def endpoints_path(folder: Path, number: int) -> Path:
    return folder / f"e{number}.yaml"


def text(objects: list[Body]) -> str:
    return yaml.dump_all(objects, Dumper=yaml.CSafeDumper, sort_keys=False)


def replace(target: Path, objects: list[Body]) -> bytes:
    """Writes the draft beside the folder and returns its text; the caller renames it, which is the event to
    be timed.
    """
    draft = target.parent.parent / f"{target.name}.draft"
    content = text(objects).encode()
    draft.write_bytes(content)
    return content


def json_text(objects: list[Body]) -> bytes:
    return b"\n".join(orjson.dumps(body) for body in objects)
