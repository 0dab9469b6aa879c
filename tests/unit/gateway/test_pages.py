"""The pages in docs/diagnostics: every code has one and every page a code, and its example gives that code.

`README.md` there lists them, section by section as the registry does. After a change to `codes.py`:

    .venv/bin/python tests/unit/gateway/test_pages.py
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from dragoman.diagnostics import codes
from dragoman.graph.pipeline import Pipeline
from dragoman.sources.files import Files

PAGES = Path(__file__).parents[3] / "docs" / "diagnostics"
INDEX = """\
# Diagnostics

Everything that Dragoman finds fault with has a code. It stands in the report (`error[DRG2003]: ...`), in
SARIF and JSON, and in the API. Each code has a page: what it means, an example, how to fix it. A code is
never used again for something else.

This list is made from `dragoman/diagnostics/codes.py` by `tests/unit/gateway/test_pages.py`.
"""
NOT_BY_EXAMPLE = {
    "DRG1002": "tests/unit/sources/test_tree.py",
    "DRG1008": "tests/unit/sources/test_watch.py",
    "DRG1105": "found by the intake",
    "DRG1503": "test_keypairs",
    "DRG1802": "stands in answers only",
    "DRG1505": "test_keypairs",
    **dict.fromkeys(("DRG1901", "DRG1902"), "tests/unit/ratelimit/test_goconfig.py"),
    **dict.fromkeys(("DRG1971", "DRG1972"), "tests/unit/ir/test_quota.py"),
    "DRG1652": "tests/envoy/test_client_policy_tls.py",  # it takes a certificate
    "DRG4001": "tests/envoy",
    **dict.fromkeys(("DRG4101", "DRG4102", "DRG4103", "DRG4104"), "tests/wire"),
    **dict.fromkeys((code for code in codes.CODES if code.startswith("DRG5")), "of commands, not of objects"),
}


def index() -> str:
    """The text of the list: a section for each comment in the registry."""
    out = [INDEX]
    source = inspect.getsource(codes)
    for line in source[source.index("CODES:") :].splitlines():
        if section := re.fullmatch(r" +# (\d+x+): ([^(]+?)(?: \(.*)?", line):
            out.append(f"\n## {section[1]}: {section[2]}\n\n")
        elif entry := re.fullmatch(r' +"(DRG\d+)": .*', line):
            out.append(f"- [{entry[1]}]({entry[1]}.md): {codes.CODES[entry[1]]}\n")
    return "".join(out)


def found(code: str, example: str, shop: Any, folder: Path) -> set[str]:
    """The codes that an example gives: when it is read, to several Gateways, or beside what is in `shop`."""
    if code.startswith("DRG10"):
        (folder / "example.yaml").write_text(example)
        return {each.code for each in Files([folder]).load().diagnostics}
    if code.startswith("DRG39"):
        (folder / "example.yaml").write_text(example)
        pipeline = Pipeline()
        pipeline.apply(Files([folder]).load())
        pipeline.commit()
        pipeline.activate("*")
        return {each.code for each in pipeline.diagnostics()}
    shop.apply(example)
    everything = [*shop.rejected.values(), *shop.outputs.diagnostics.values()]
    return {each.code for findings in everything for each in findings}


@pytest.mark.parametrize("code", sorted(codes.CODES))
def test_page(code: str, shop: Any, tmp_path: Path) -> None:
    text = (PAGES / f"{code}.md").read_text()
    assert text.startswith(f"# {code}: {codes.CODES[code]}\n")
    assert re.findall(r"^## .*", text, re.MULTILINE) == ["## Example", "## How to fix it"]
    if code in NOT_BY_EXAMPLE:
        return
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert code in found(code, example, shop, tmp_path)


def test_every_page_has_a_code() -> None:
    assert {path.stem for path in PAGES.iterdir()} == {*codes.CODES, "README"}


def test_the_index_is_that_of_the_registry() -> None:
    assert (PAGES / "README.md").read_text() == index(), f"write it anew: .venv/bin/python {__file__}"
    assert set(re.findall(r"\[(DRG\d+)\]", index())) == set(codes.CODES)


if __name__ == "__main__":
    (PAGES / "README.md").write_text(index())
