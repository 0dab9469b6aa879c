"""Replays the Gateway API conformance cases against the pipeline, the xDS server
and a real Envoy.

The data is not part of the repository: the module is skipped where its folder is absent
(`DRAGOMAN_CONFORMANCE` names another). Gateways listen on loopback addresses of their own with the ports of
their listeners, 80 and 443 among them. The table of results is printed, and written to `results.md` when
every case ran with the default settings (`DRAGOMAN_GATEWAYS_...` are others).
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from tests.conformance import (
    cases,
    checks,
    checks_gateways,
    checks_grpc,
    checks_httproutes,
    checks_listenersets,
    checks_streams,
    checks_tls,
    expected,
    serving,
    world,
)
from tests.conformance.run import Run, manifest

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.envoy,
    pytest.mark.xdist_group("conformance"),
    pytest.mark.timeout(400),  # another worker may have its turn first
    pytest.mark.asyncio(loop_scope="module"),
]

SUBJECTS = (checks_gateways, checks_grpc, checks_httproutes, checks_listenersets, checks_streams, checks_tls)
"""Named here so that their checks are registered."""

RESULTS = Path(__file__).with_name("results.md")


def _unusable() -> str | None:
    """Why the replay cannot run here, if it cannot."""
    if not (cases.FOLDER / "cases.json").is_file():
        return f"the conformance data is not at {cases.FOLDER} (set DRAGOMAN_CONFORMANCE)"
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.99.99.99", 80))
    except OSError as failure:
        return f"cannot listen on 127.99.99.99:80 ({failure.strerror}); the cases need ports 80 and 443"
    return None


_REASON = _unusable()
_ALL = [] if _REASON else cases.load()
_APPLICABLE = [case for case in _ALL if expected.not_applicable(case) is None]


@dataclass
class Results:
    """Outcome by case: empty list for a pass."""

    faults: dict[str, list[str]] = field(default_factory=dict)

    def table(self) -> str:
        lines = [
            "# Gateway API v1.6.1 behaviour cases",
            "",
            "Written by `tests/conformance/test_conformance.py`; do not edit.",
            "",
            "| case | result | remarks |",
            "|---|---|---|",
        ]
        counts = {"pass": 0, "fail": 0, "not applicable": 0}
        for case in sorted(_ALL, key=lambda case: case.name):
            later = expected.not_applicable(case)
            faults = self.faults.get(case.name)
            if later is not None:
                result, remark = "not applicable", later
            elif faults is None:
                result, remark = "fail", "did not run"
            elif faults:
                result, remark = "fail", expected.FAILURES.get(case.name) or faults[0]
            else:
                result, remark = "pass", "provisional in the suite" if case.provisional else ""
            counts[result] += 1
            lines.append(f"| {case.name} | {result} | {remark.replace('|', '/')} |")
        summary = ", ".join(f"{count} {result}" for result, count in counts.items())
        return "\n".join([*lines[:3], "", f"{summary}, of {len(_ALL)}.", *lines[3:], ""])


@pytest.fixture(scope="module")
def results() -> Iterator[Results]:
    found = Results()
    yield found
    table = found.table()
    print(f"\n{table}")
    if len(found.faults) == len(_APPLICABLE) and not serving.SETTINGS:
        RESULTS.write_text(table)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(tmp_path_factory: pytest.TempPathFactory, envoy_binary: Path) -> AsyncIterator[Run]:
    place = world.World(tmp_path_factory.mktemp("conformance"))
    try:
        async with serving.serve(place, tmp_path_factory.mktemp("envoy")) as running:
            await running.apply([world.gateway_class(), *cases.manifest("base.yaml"), *place.secrets()])
            yield running
    finally:
        await place.close()


@pytest.mark.skipif(_REASON is not None, reason=str(_REASON))
@pytest.mark.parametrize("case", _APPLICABLE, ids=lambda case: case.name)
async def test_case(case: cases.Case, run: Run, results: Results) -> None:
    before = dict(run.world.objects)
    await run.apply(manifest(case))
    try:
        faults = await checks.of(case)(run, case) + checks.everywhere(run)
    except AssertionError as failure:
        faults = [str(failure)]
    finally:
        run.delete([body for key, body in run.world.objects.items() if key not in before])
    results.faults[case.name] = faults
    reason = expected.FAILURES.get(case.name)
    if reason is None:
        assert not faults, "\n".join(faults)
    else:
        assert faults, f"{case.name} passes now: take it out of expected.FAILURES ({reason})"
        pytest.xfail(reason)


@pytest.mark.skipif(_REASON is not None, reason=str(_REASON))
async def test_known_failures_are_cases() -> None:
    assert set(expected.FAILURES) <= {case.name for case in _APPLICABLE}
