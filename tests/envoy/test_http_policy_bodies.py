"""HTTPPolicy through the real Envoy: compression, decompression, and the limit of requests' bodies."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from dragoman import proto
from dragoman.proto.envoy.config.cluster import v3 as cluster_proto
from dragoman.proto.envoy.config.listener import v3 as listener_proto
from tests.envoy import policy_site
from tests.envoy.policy_site import policy, route
from tests.harness import net
from tests.harness.echo import Answer, Echo, Identity, Request

pytestmark = pytest.mark.envoy

# Not too easy: Envoy's decompressors give up beyond a ratio of 100.
TEXT = b'{"words": "' + b"".join(b"compress me %d " % (n * n) for n in range(2000)) + b'"}'
TYPES = {"json": "application/json; charset=utf-8", "image": "image/png", "event": "text/event-stream"}
BROWSER = "gzip, deflate, br, zstd"


class Files(Echo):
    """Files by name: `/json`, `/image`, `/small` ..."""

    def answer(self, request: Request) -> Answer:
        name = request.target.removeprefix("/").partition("?")[0]
        body = b'{"small": true}' if name == "small" else TEXT
        headers = [("content-type", TYPES.get(name, "application/json"))]
        if name == "etag":
            headers.append(("etag", '"strong"'))
        return Answer(404 if name == "missing" else 200, body, tuple(headers))


def add_decoder(port: int) -> Any:
    """A listener of the same Envoy on `port` that asks the Gateway and decompresses what it gets."""
    kind = "type.googleapis.com/envoy.extensions"

    def add(bootstrap: Any, gateway: int) -> None:
        filters: list[Any] = [
            {
                "name": name,
                "typed_config": {
                    "@type": f"{kind}.filters.http.decompressor.v3.Decompressor",
                    "decompressor_library": {
                        "name": name,
                        "typed_config": {
                            "@type": f"{kind}.compression.{name}.decompressor.v3.{name.capitalize()}"
                        },
                    },
                },
            }
            for name in ("gzip", "brotli", "zstd")
        ]
        filters.append({"name": "router", "typed_config": {"@type": f"{kind}.filters.http.router.v3.Router"}})
        manager = {
            "@type": f"{kind}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "decoder",
            "http_filters": filters,
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": "decoder",
                        "domains": ["*"],
                        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "gateway"}}],
                    }
                ]
            },
        }
        listener = {
            "name": "decoder",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            "filter_chains": [{"filters": [{"name": "manager", "typed_config": manager}]}],
        }
        place = {"socket_address": {"address": "127.0.0.1", "port_value": gateway}}
        cluster = {
            "name": "gateway",
            "type": "STATIC",
            "load_assignment": {
                "cluster_name": "gateway",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": place}}]}],
            },
        }
        static = bootstrap.static_resources
        static.listeners.append(proto.from_dict(listener_proto.Listener, listener))
        static.clusters.append(proto.from_dict(cluster_proto.Cluster, cluster))

    return add


async def test_compression(envoy_binary: Path) -> None:
    sections = {
        "plain": None,
        "all": "compression: {}",
        "gz": "compression: {algorithms: [gzip, zstd, brotli], effort: Fastest}",
        "zs": "compression: {algorithms: [zstd, brotli, gzip], effort: Smallest}",
        "types": 'compression: {contentTypes: ["image/*"], minLength: 0, weakenETags: false}',
        "not404": "compression: {exceptStatuses: [404]}",
        "none": "compression: {disabled: true}",
    }
    text = "".join(route(name) for name in sections)
    text += "".join(policy(name, f"  {spec}") for name, spec in sections.items() if spec)
    decoder = net.free_port()
    async with policy_site.running(envoy_binary, text, Files(Identity("f")), add_decoder(decoder)) as site:

        async def encoding(host: str, path: str, accept: str) -> str:
            reply = await site.ask(host, path, accept_encoding=accept)
            if "content-encoding" in reply.headers:
                assert len(reply.body) * 2 < len(TEXT)
                assert reply.headers["vary"].lower() == "accept-encoding"
            return reply.headers.get("content-encoding", "")

        # Negotiated, preferred, and as the client wants.
        assert [await encoding("all", "/json", each) for each in ("gzip", "br", "zstd", "identity")] == [
            *("gzip", "br", "zstd"),
            "",
        ]
        assert [await encoding(host, "/json", BROWSER) for host in ("plain", "all", "gz", "zs", "none")] == [
            *("", "br", "gzip", "zstd"),
            "",
        ]
        assert await encoding("zs", "/json", "gzip, deflate, br") == "br"
        assert await encoding("all", "/json", "gzip, deflate") == "gzip"
        assert await encoding("all", "/json", "br;q=0.1, gzip;q=0.9") == "gzip"
        assert await encoding("all", "/json", "br;q=0, gzip;q=0") == ""
        # Only what is worth it.
        assert [await encoding("all", path, "gzip") for path in ("/image", "/event", "/small")] == [
            "",
            "",
            "",
        ]
        assert [await encoding("types", path, "gzip") for path in ("/image", "/json")] == ["gzip", ""]
        assert [await encoding("not404", path, "gzip") for path in ("/missing", "/json")] == ["", "gzip"]
        # ETags.
        reply = await site.ask("all", "/etag", accept_encoding="gzip")
        assert (reply.headers["content-encoding"], reply.headers["etag"]) == ("gzip", 'W/"strong"')
        reply = await site.ask("types", "/etag", accept_encoding="gzip")
        assert "content-encoding" not in reply.headers
        assert reply.headers["etag"] == '"strong"'
        # The content is what it was.
        assert gzip.decompress((await site.ask("all", "/json", accept_encoding="gzip")).body) == TEXT
        through = policy_site.PolicySite(decoder, site.pipeline, site.backend)
        for accept in ("gzip", "br", "zstd"):
            reply = await through.ask("all", "/json", accept_encoding=accept)
            assert "content-encoding" not in reply.headers
            assert reply.body == TEXT


async def test_request_bodies(envoy_binary: Path) -> None:
    text = (
        route("free")
        + route("small")
        + policy("small", "  requestBody: {maxSize: 10k}")
        + route("large")
        + policy("large", "  requestBody: {maxSize: 8Mi}")
        + route("undone")
        + policy("undone", "  requestBody: {maxSize: 10k}\n  decompression: {}")
        + route("own")
        + policy(
            "own",
            "  requestBody: {maxSize: 10k}\n"
            "  responseOverride: {rules: [{statuses: [413], body: {text: too much}, status: 400}]}",
        )
    )
    async with policy_site.running(envoy_binary, text) as site:

        async def status(host: str, size: int, **more: Any) -> int:
            return (await site.ask(host, "/x", method="POST", body=b"x" * size, **more)).status

        assert [await status(host, 10_001) for host in ("free", "small", "large")] == [200, 413, 200]
        assert [await status("small", 10_000, chunked=chunked) for chunked in (False, True)] == [200, 200]
        # Far beyond every buffer: it is passed on as it comes.
        assert [await status("large", 8 * 1024**2 - 1, chunked=chunked) for chunked in (False, True)] == [
            200,
            200,
        ]
        assert [await status("large", 8 * 1024**2 + 1, chunked=chunked) for chunked in (False, True)] == [
            413,
            413,
        ]
        for chunked in (False, True):
            reply = await site.ask("small", "/x", method="POST", body=b"x" * 10_001, chunked=chunked)
            assert reply.headers["content-type"] == "application/json"
            assert reply.body.strip() == b'{"error":"payload_too_large","limit":10000}'
        reply = await site.ask("own", "/x", method="POST", body=b"x" * 10_001)
        assert (reply.status, reply.body.strip()) == (400, b"too much")
        # What counts is what the backend would get.
        bomb, fine = gzip.compress(b"x" * 20_000), gzip.compress(b"x" * 9_000)
        assert len(bomb) < 10_000
        assert (
            await site.ask("small", "/x", method="POST", body=bomb, content_encoding="gzip")
        ).status == 200
        assert (
            await site.ask("undone", "/x", method="POST", body=bomb, content_encoding="gzip")
        ).status == 413
        for size, wanted in ((9_999, 200), (10_001, 413)):
            packed = gzip.compress(b"x" * size)
            assert (
                await site.ask("undone", "/x", method="POST", body=packed, content_encoding="gzip")
            ).status == wanted
        seen = await site.seen("undone", "/x", method="POST", body=fine, content_encoding="gzip")
        assert "content-encoding" not in seen["headers"]
