"""`docs/gateway-api.md` says what `features` says, and so do GatewayClasses.

After a change to `features.py`:

    .venv/bin/python tests/unit/gateway/test_features.py
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dragoman.translators.gateway import features, listeners

PAGE = Path(__file__).parents[3] / "docs" / "gateway-api.md"
BEGIN, END = "<!-- made by tests/unit/gateway/test_features.py -->\n", "<!-- end -->\n"


def table() -> str:
    """Every feature, supported or not."""
    rows = {**{name: ("yes", remark) for name, remark in features.SUPPORTED.items()}}
    rows |= {name: ("no", why) for name, why in features.UNSUPPORTED.items()}
    lines = ["| feature | | remarks |", "|---|---|---|"]
    lines += [f"| {name} | {has} | {remark} |" for name, (has, remark) in rows.items()]
    kinds = ["| listener's protocol | routes |", "|---|---|"]
    kinds += [f"| {protocol.value} | {', '.join(found)} |" for protocol, found in listeners.KINDS.items()]
    return "\n".join([*lines, "", *kinds, ""])


def page() -> str:
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.split(END)[1]}"


def test_the_page_says_what_the_code_says() -> None:
    assert page() == PAGE.read_text(), "run this file as a script"


def test_classes_show_them_in_order(world: Any) -> None:
    world.apply(
        "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: dragoman},"
        " spec: {controllerName: dragoman.dev/gateway-controller}}"
    )
    ref = world.ref("GatewayClass", "dragoman", "")
    shown = [one["name"] for one in world.outputs.statuses.get(ref).body["supportedFeatures"]]
    assert shown == list(features.SUPPORTED)
    assert shown == sorted(shown)


def test_nothing_is_both() -> None:
    assert not features.SUPPORTED.keys() & features.UNSUPPORTED.keys()


def test_conformance_cases_are_of_supported_features() -> None:
    """What the replay passes without being told otherwise is claimed, and nothing else."""
    results = (Path(__file__).parents[2] / "conformance" / "results.md").read_text()
    assert re.search(r"^\d+ pass, 0 fail", results, re.MULTILINE), "claims without proof"


if __name__ == "__main__":
    PAGE.write_text(page())
