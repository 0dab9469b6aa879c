"""The page of every code of this translator: it is there, and its example gives that code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from dragoman.diagnostics import codes

PAGES = Path(__file__).parents[3] / "docs" / "diagnostics"
OURS = sorted(code for code in codes.CODES if re.fullmatch(r"DRG(1[1-5]\d\d|2\d\d\d|30\d\d)", code))
NOT_BY_EXAMPLE = {"DRG1105": "found by the intake", "DRG1503": "test_keypairs", "DRG1505": "test_keypairs"}


@pytest.mark.parametrize("code", OURS)
def test_page(code: str, shop: Any) -> None:
    text = (PAGES / f"{code}.md").read_text()
    assert text.startswith(f"# {code}: {codes.CODES[code]}\n")
    if code in NOT_BY_EXAMPLE:
        return
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    shop.apply(example)
    rejected = {d.code for findings in shop.rejected.values() for d in findings}
    found = {d.code for findings in shop.outputs.diagnostics.values() for d in findings}
    assert code in rejected | found
