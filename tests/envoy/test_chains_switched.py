"""`gateways.discovered_chains` switched on and off under a live Envoy: each switch drains the port once, and
no handshake and no request fails.
"""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path

import pytest

from tests.envoy.test_discovered_chains import chains_in
from tests.envoy.test_tls_hosts import COUNT, KEPT, Hosts, host, keep_to_themselves
from tests.harness import net
from tests.harness.load import Load
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

FULL = "listener_manager.listener_modified"


async def switched(made: Hosts, on: bool) -> None:
    """Another control plane, as users switch the setting."""
    before = await modified(made)
    await made.site.plane.stop()
    made.site.plane.set(DRAGOMAN_GATEWAYS_DISCOVERED_CHAINS=str(on).lower())
    await made.site.plane.start()

    async def there() -> bool:
        found = await chains_in(made)
        return found == ["closed"] if on else len(found) > COUNT

    await net.until(f"switched {'on' if on else 'off'}", there)
    assert await modified(made) == before + 1


async def modified(made: Hosts) -> float:
    return (await made.site.envoy.stats(FULL))[FULL]


async def test_the_setting_is_switched_under_load(tmp_path: Path, envoy_binary: Path) -> None:
    """Envoys that come back to listeners which begin to fetch chains get them when the patience ends."""
    patience = {"DRAGOMAN_XDS_WARMING_TIMEOUT": "3"}
    async with Site(tmp_path, drain=20, environment=patience) as site, contextlib.AsyncExitStack() as stack:
        made = Hosts(site)
        await made.begin()
        kept = [await stack.enter_async_context(made.load(host(number))) for number in KEPT]
        fresh = [await stack.enter_async_context(made.load(host(number), fresh=True)) for number in KEPT]
        for turn, on in enumerate((True, False, True), 2):
            await switched(made, on)
            for load in (*kept, *fresh):
                await load.more(50)
                await net.until("connections replaced", partial(was_replaced, kept, turn), limit=60)
            await keep_to_themselves(made)
        await stack.aclose()
        for load in (*kept, *fresh):
            assert not load.failures, (load.host, dict(load.failures))
        assert [load.opened for load in kept] == [4 * load.connections for load in kept], "drained once each"
        assert site.envoy.running()


def was_replaced(loads: list[Load], times: int) -> bool:
    return all(load.opened >= times * load.connections for load in loads)
