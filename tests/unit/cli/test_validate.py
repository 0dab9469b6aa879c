"""`dragoman validate`: findings, forms, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.unit.cli.conftest import Call, edit


@pytest.fixture
def broken(hello: Path) -> Path:
    edit(hello / "routes.yaml", "backendRefs:", "backendRef:")
    return hello


def test_all_fine(call: Call, hello: Path) -> None:
    result = call("validate", hello)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "5 objects: all fine" in result.stderr


def test_every_mistake_at_once_with_its_place(call: Call, broken: Path) -> None:
    result = call("validate", broken)
    assert result.exit_code == 1
    assert result.stdout.count("error[DRG1101]: `backendRef` is not a known field") == 3
    assert f"--> {broken}/routes.yaml:17:7  HTTPRoute hello/hello" in result.stdout
    assert "did you mean `backendRefs`?" in result.stdout
    assert "5 objects: 3 errors, 0 warnings" in result.stderr


def test_stdin(call: Call, broken: Path) -> None:
    result = call("validate", "-", input=(broken / "routes.yaml").read_text())
    assert result.exit_code == 1
    assert "--> <stdin>:17:7" in result.stdout


def test_json(call: Call, broken: Path) -> None:
    found = json.loads(call("validate", "-o", "json", broken).stdout)
    assert [(item["code"], item["line"], item["column"]) for item in found] == [
        ("DRG1101", 17, 7),
        ("DRG1101", 33, 7),
        ("DRG1101", 44, 7),
    ]


def test_sarif(call: Call, broken: Path) -> None:
    run = json.loads(call("validate", "-o", "sarif", broken).stdout)["runs"][0]
    assert [result["ruleId"] for result in run["results"]] == ["DRG1101"] * 3


def test_github(call: Call, broken: Path) -> None:
    lines = call("validate", "-o", "github", broken).stdout.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("::error file=") for line in lines)


def test_yaml_has_the_objects_with_their_status(call: Call, hello: Path) -> None:
    objects = {o["kind"]: o for o in yaml.safe_load_all(call("validate", "-o", "yaml", hello).stdout)}
    (parent,) = objects["HTTPRoute"]["status"]["parents"]
    assert {c["type"]: c["status"] for c in parent["conditions"]} == {
        "Accepted": "True",
        "ResolvedRefs": "True",
    }
    assert objects["Gateway"]["spec"]["listeners"][0]["port"] == 8080


@pytest.mark.parametrize("kind", ["secret", "SecretS", "Secert"])
def test_yaml_shows_no_secret_of_a_misspelt_kind(call: Call, hello: Path, kind: str) -> None:
    (hello / "secret.yaml").write_text(
        f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: s}}\n"
        "stringData: {a: hunter2}\ndata: {b: aHVudGVy}\n"
    )
    result = call("validate", "-o", "yaml", hello)
    assert f"kind: {kind}" in result.stdout
    assert "hunter2" not in result.stdout
    assert "aHVudGVy" not in result.stdout


def test_yaml_shows_no_secret(call: Call, hello: Path) -> None:
    (hello / "secret.yaml").write_text(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: hello}\n"
        "stringData: {password: hunter2}\n"
    )
    result = call("validate", "-o", "yaml", hello)
    assert "password: '[redacted]'" in result.stdout
    assert "hunter2" not in result.output


def test_warnings_count_when_strict(call: Call, hello: Path) -> None:
    # A kind of a group that is ours, but that is not read.
    (hello / "more.yaml").write_text(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: XMesh\n"
        "metadata: {name: t, namespace: hello}\nspec: {}\n"
    )
    assert call("validate", hello).exit_code == 0
    result = call("validate", "--strict", hello)
    assert result.exit_code == 1
    assert "warning[" in result.stdout


def test_a_path_that_is_not_there(call: Call) -> None:
    result = call("validate", "nowhere")
    assert result.exit_code == 2
    assert "error[DRG5002]: nowhere: no such file or directory" in result.stderr


def test_wrong_settings(call: Call, hello: Path, tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("xds: {prot: 1}\n")
    result = call("validate", "--settings", tmp_path / "settings.yaml", hello)
    assert result.exit_code == 2
    assert "error[DRG5001]: settings: xds.prot" in result.stderr


@pytest.mark.envoy
def test_the_real_envoy_is_asked(call: Call, hello: Path, envoy_binary: Path) -> None:
    assert call("validate", "--envoy", hello).exit_code == 0


def test_no_envoy_to_ask(call: Call, hello: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVOY", "/nowhere/envoy")
    result = call("validate", "--envoy", hello)
    assert result.exit_code == 2
    assert "error[DRG5005]" in result.stderr


def test_an_envoy_that_is_none(call: Call, hello: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVOY", "/nonexistent/envoy")
    result = call("validate", "--envoy", hello)
    assert result.exit_code == 2
    assert result.stderr.startswith("error[DRG5005]: /nonexistent/envoy is not a program")


def test_nothing_to_check_is_no_all_clear(call: Call, tmp_path: Path) -> None:
    (tmp_path / "routes.yaml.tpl").write_text("kind: HTTPRoute\n")
    result = call("validate", tmp_path)
    assert result.exit_code == 0
    assert result.stderr.startswith("0 objects: nothing to check")
