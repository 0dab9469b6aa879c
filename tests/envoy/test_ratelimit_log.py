"""What Envoy's access log says of a 429: lines of JSON, as Envoy writes them, name the policy behind it.

The service is in this process; the log is put into what the encoders made.
"""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dragoman import proto
from dragoman.envoy.ratelimit_service import Place
from dragoman.graph.pipeline import Pipeline
from dragoman.ir import model as ir
from dragoman.proto.envoy.extensions.access_loggers.file import v3 as file_log
from dragoman.proto.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from dragoman.ratelimit import policies, server
from dragoman.ratelimit.transport import base
from tests.envoy import policy_site
from tests.envoy.policy_site import PolicySite, route
from tests.harness import net

pytestmark = pytest.mark.envoy

FORMAT = {
    "path": "%REQ(:PATH)%",
    "status": "%RESPONSE_CODE%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "limit": "%DYNAMIC_METADATA(envoy.filters.http.ratelimit:limit)%",
    "policy": "%DYNAMIC_METADATA(envoy.filters.http.ratelimit:policy)%",
    "quota": "%DYNAMIC_METADATA(envoy.extensions.http_filters.rate_limit_quota.bucket:limit)%",
}


def limited(name: str, *limits: str, kind: str = "HTTPRoute", target: str = "") -> str:
    said = "\n".join(f"    {one}" for one in limits)
    return (
        f"---\nkind: RateLimitPolicy\nmetadata: {{name: {name}}}\n"
        f"spec:\n  targetRefs: [{{kind: {kind}, name: {target or name}}}]\n  limits:\n{said}\n"
    )


OBJECTS = (
    route("global")
    + route("local")
    + route("quota")
    + limited("global", "day: {requests: 1, per: Day}", "hour: {requests: 9, per: Hour}")
    + limited(
        "local", "few: {requests: 1, per: Day, where: Local}", "many: {requests: 9, per: Day, where: Local}"
    )
    + limited(
        "quota",
        "puts: {requests: 1, per: Second, where: Quota, when: [{methods: [PUT]}]}",
        "all: {requests: 1, per: Second, where: Quota}",
    )
)


@dataclass
class Log:
    path: Path
    admin_port: int = 0

    def flush(self) -> None:
        """Envoy does it every ten seconds, and when it is told to open its logs anew."""
        url = f"http://127.0.0.1:{self.admin_port}/reopen_logs"
        urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=10).close()

    def first(self, status: int) -> dict[str, dict[str, Any]]:
        """For each path the first line with that status. The last line may be half written."""
        found: dict[str, dict[str, Any]] = {}
        for text in self.path.read_text().splitlines(keepends=True):
            if text.endswith("\n"):
                said = json.loads(text)
                if said["status"] == status:
                    found.setdefault(said["path"], said)
        return found


@asynccontextmanager
async def logging(binary: Path, log: Log) -> AsyncIterator[PolicySite]:
    """Envoy that logs, and the service that it asks."""
    settings = server.Settings(listen=base.Settings(), streams=base.Settings())
    service = server.Server(settings)
    await service.start()
    limits = policies.Limits()

    def take(found: Collection[ir.RateLimit]) -> dict[Any, Any]:
        service.service.load(limits.table(found, 0.0))
        return {}

    def prepare(pipeline: Pipeline) -> None:
        asked, streams = (Place((("127.0.0.1", port),)) for port in (service.port, service.streams_port))
        pipeline.count_limits(asked, streams, take)

    def write(bootstrap: Any, port: int) -> None:
        log.admin_port = bootstrap.admin.address.socket_address.port_value
        (found,) = [
            one
            for one in bootstrap.static_resources.listeners
            if one.address.socket_address.port_value == port
        ]
        target = found.filter_chains[0].filters[0].typed_config
        manager = hcm.HttpConnectionManager.FromString(target.value)
        access = file_log.FileAccessLog(path=str(log.path))
        access.log_format.json_format.update(FORMAT)
        entry = manager.access_log.add(name="file")
        entry.typed_config.CopyFrom(proto.pack_any(access))
        target.value = proto.serialize(manager)

    try:
        async with policy_site.running(binary, OBJECTS, more=write, prepare=prepare) as site:
            yield site
    finally:
        await service.stop()


async def test_the_access_log_names_the_policy_behind_a_denial(tmp_path: Path, envoy_binary: Path) -> None:
    log = Log(tmp_path / "access.log")
    async with logging(envoy_binary, log) as site:

        async def line(host: str, path: str, **more: Any) -> dict[str, Any]:
            """What the log says of the first denial. Before it a quota's first requests may pass."""

            async def denied() -> bool:
                return (await site.ask(host, path, **more)).status == 429

            await net.until("a request is denied", denied)

            async def written() -> bool:
                await asyncio.to_thread(log.flush)
                return path in log.first(429)

            await net.until("the log is written", written)
            return log.first(429)[path]

        found = await line("global", "/g")
        expected = {"status": 429, "path": "/g", "details": "request_rate_limited", "quota": None}
        assert found == {**expected, "limit": "day", "policy": "shop/global"}
        assert log.first(200)["/g"]["policy"] is None, "nothing is behind an answer"
        found = await line("local", "/l")
        expected = {"status": 429, "path": "/l", "details": "local_rate_limited", "quota": None}
        assert found == {**expected, "limit": "few", "policy": "shop/local"}
        expected = {"status": 429, "details": "rate_limited_by_quota", "limit": None, "policy": None}
        found = await line("quota", "/all")
        assert found == {**expected, "path": "/all", "quota": "shop/quota/all"}
        found = await line("quota", "/puts", method="PUT")
        assert found["quota"] in ("shop/quota/all", "shop/quota/puts")
