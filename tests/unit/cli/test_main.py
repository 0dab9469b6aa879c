"""The entry point: lazy, quick to help, and clear about mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dragoman.cli import main, workspace

HEAVY = ("grpc", "pydantic", "aiohttp", "rich", "google.protobuf", "yaml", "dragoman.proto", "asyncio")


def modules_after(*arguments: str) -> set[str]:
    """Names of the modules that a command line has imported when it is done."""
    program = (
        "import sys\n"
        "from dragoman.cli import main\n"
        f"sys.argv = ['dragoman', *{list(arguments)!r}]\n"
        "try: main.cli()\n"
        "except SystemExit: pass\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), *((name, "--help") for name in main.COMMANDS)]
)
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert not modules_after(*arguments) & set(HEAVY)


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_has_help_with_examples(name: str) -> None:
    result = CliRunner().invoke(main.cli, [name, "--help"])
    assert result.exit_code == 0
    assert "Examples:" in result.output
    assert f"dragoman {name}" in result.output


@pytest.mark.parametrize("name", main.COMMANDS)
def test_summaries_end_like_sentences_and_fit_a_line(name: str) -> None:
    summary = main.COMMANDS[name]
    assert summary.endswith(".")
    assert len(summary) < 80


def test_unknown_command_suggests_the_nearest() -> None:
    result = CliRunner().invoke(main.cli, ["statsu"])
    assert result.exit_code == 2
    assert "did you mean `status`?" in result.output


@pytest.mark.parametrize(
    ("redirection", "code", "words"),
    [(">/dev/full", 2, "error: the output cannot be written: No space left on device\n"), (">&-", 0, "")],
)
@pytest.mark.parametrize("command", ["version", "bootstrap"])
def test_output_that_cannot_be_written(command: str, redirection: str, code: int, words: str) -> None:
    program = f"{sys.executable} -m dragoman {command} {redirection}"
    done = subprocess.run(["sh", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, words)


def test_an_interrupt_is_no_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def load(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(workspace, "load", load)
    assert CliRunner().invoke(main.cli, ["validate", str(tmp_path)]).exit_code == 130


def test_version() -> None:
    result = CliRunner().invoke(main.cli, ["--version"])
    assert result.output.startswith("dragoman ")
