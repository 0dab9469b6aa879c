"""What documents point to is there: links and their headings, files named in the text, settings, metrics, and
the tests that docs/xds.md names for each rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from dragoman import config

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted((*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")))
FOLDERS = ("dragoman", "tests", "docs", "examples", "benchmarks", "manifests")


def prose(document: Path) -> str:
    """The text without fenced and indented blocks."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    return "\n".join(line for line in text.splitlines() if not line.startswith("    "))


def links(document: Path) -> Iterator[str]:
    """Targets of inline links that are no URLs."""
    for target in re.findall(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)", prose(document)):
        if not re.match(r"[a-z]+:", target):
            yield target


def headings(document: Path) -> set[str]:
    """Fragments, as GitHub makes them."""
    found: list[str] = []
    for title in re.findall(r"^#+ +(.*)$", prose(document), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower())
        slug = words.strip().replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return set(found)


def test_links_lead_somewhere() -> None:
    wrong: list[str] = []
    for document in DOCUMENTS:
        for target in links(document):
            path, _, fragment = target.partition("#")
            file = (document.parent / path).resolve() if path else document
            if not file.exists() or (fragment and fragment not in headings(file)):
                wrong.append(f"{document.relative_to(ROOT)}: {target}")
    assert wrong == []


def test_files_that_are_named_are_there() -> None:
    """A path that begins with one of our folders stands there; another is the end of some path of ours."""
    ours = [f"/{p.relative_to(ROOT)}" for folder in FOLDERS for p in (ROOT / folder).rglob("*")]
    wrong: list[str] = []
    for document in DOCUMENTS:
        for span in re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|md|yaml))`", prose(document)):
            if span.split("/")[0] in FOLDERS:
                there = (ROOT / span).exists() or "nnnn" in span
            else:
                there = any(path.endswith(f"/{span}") for path in ours)
            if not there:
                wrong.append(f"{document.relative_to(ROOT)}: {span}")
    assert wrong == []


def test_folders_that_are_named_are_there() -> None:
    wrong = [
        f"{document.relative_to(ROOT)}: {span}"
        for document in DOCUMENTS
        for span in re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*)`", prose(document))
        if "nnnn" not in span and not (ROOT / span).exists()
    ]
    assert wrong == []


def test_settings_load(tmp_path: Path) -> None:
    """Blocks of YAML whose keys are those of the settings."""
    seen = 0
    for document in DOCUMENTS:
        for block in re.findall(r"^```yaml\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL):
            if re.match(rf"(?:{'|'.join(config.Settings.model_fields)}):\n", block):
                (tmp_path / "settings.yaml").write_text(block)
                config.load(tmp_path / "settings.yaml", environment={})
                seen += 1
    assert seen >= 2


def test_metrics_exist() -> None:
    sources = [
        "telemetry/metrics.py",
        "runtime/gauges.py",
        "ratelimit/metrics.py",
        "ratelimit/server.py",
        "authz/metrics.py",
    ]
    known = "".join((ROOT / "dragoman" / path).read_text() for path in sources)
    for document in DOCUMENTS:
        for metric in re.findall(r"\bdragoman_(\w+?)(?:_total)?\b", document.read_text()):
            names = (metric, f"dragoman_{metric}", metric.removeprefix("ratelimit_"))
            assert any(f'"{name}"' in known for name in names), (document, metric)


def functions() -> dict[str, list[str]]:
    """`unit/xds/test_sotw.py` -> names of its test functions, of all test files."""
    return {
        str(path.relative_to(ROOT / "tests")): re.findall(
            r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE
        )
        for path in ROOT.glob("tests/**/test_*.py")
    }


def numbers(function: str) -> set[int]:
    """The rules that a test says it checks."""
    found = re.match(r"test_rules?_(\d+(?:_(?:and_)?\d+)*)_", function)
    return {int(number) for number in re.findall(r"\d+", found[1])} if found else set()


def test_every_rule_has_its_row_and_its_tests() -> None:
    known = functions()
    every = {function for names in known.values() for function in names}
    text = (ROOT / "docs/xds.md").read_text()
    rows = re.findall(r"^\| (\d+) \| .* \| ([^|]+) \|$", text, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 93))
    for number, cell in rows:
        named = re.findall(r"`(test_\w+)`", cell)
        assert all(function in every for function in named), (number, named)
        files = [
            f"{'unit/xds' if where == 'unit' else where}/test_{stem}.py"
            for where, stems in re.findall(r"(unit|wire): ([a-z]+(?:, [a-z]+)*)", cell)
            for stem in stems.split(", ")
        ]
        assert named or files, number
        for file in files if not named else ():
            assert any(int(number) in numbers(function) for function in known[file]), (number, file)


def test_every_test_of_a_rule_is_in_the_table() -> None:
    text = (ROOT / "docs/xds.md").read_text()
    rows = dict(re.findall(r"^\| (\d+) \| .* \| ([^|]+) \|$", text, re.MULTILINE))
    for file, names in functions().items():
        for function in names:
            for number in numbers(function):
                stem = Path(file).stem.removeprefix("test_")
                assert re.search(rf"\b{stem}\b", rows[str(number)]), f"{function} of {file}"


def test_where_rules_are_is_there() -> None:
    """`session._warm` in the table is a file of dragoman/xds and a name in it."""
    text = (ROOT / "docs/xds.md").read_text()
    seen = 0
    for number, cell in re.findall(r"^\| (\d+) \| .* \| ([^|]+) \| [^|]+ \|$", text, re.MULTILINE):
        for module, names in re.findall(r"`([a-z]+)((?:\.\w+)*)`", cell):
            code = (ROOT / f"dragoman/xds/{module}.py").read_text()
            for name in names.split(".")[1:]:
                assert re.search(rf"\b{name}\b", code), f"rule {number}: {module}{names}"
                seen += 1
    assert seen >= 60
