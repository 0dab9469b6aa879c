"""`dragoman snapshot show` and `diff`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.unit.cli.conftest import Call, edit


def test_table(call: Call, hello: Path) -> None:
    lines = call("snapshot", "show", hello).stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["TYPE", "NAME"],
        ["CDS", "Backend/hello/hello"],
        ["CDS", "Backend/hello/hello-canary"],
        *(["ECDS", f"dragoman.consumers/{shard}"] for shard in range(8)),
        ["ECDS", "dragoman.identity"],
        ["ECDS", "dragoman.quota.0"],
        ["ECDS", "dragoman.quota.1"],
        *(["ECDS", f"envoy.filters.http.api_key_auth/{shard}"] for shard in range(8)),
        ["ECDS", "envoy.filters.http.jwt_authn"],
        ["ECDS", "envoy.filters.http.local_ratelimit"],
        ["LDS", "127.0.0.1:8080"],
        ["RDS", "127.0.0.1:8080"],
    ]
    assert "RDS 127.0.0.1:8080" in lines[-2]


def test_whole_resources(call: Call, hello: Path) -> None:
    (found,) = json.loads(call("snapshot", "show", "-t", "rds", "-o", "json", hello).stdout)
    assert found["refers"]["CDS"] == ["Backend/hello/hello", "Backend/hello/hello-canary"]
    assert found["body"]["virtual_hosts"][0]["domains"] == ["*"]
    (same,) = yaml.safe_load_all(
        call("snapshot", "show", "-t", "RouteConfiguration", "-o", "yaml", hello).stdout
    )
    assert same == found


def test_a_name_or_type_that_is_not_there(call: Call, hello: Path) -> None:
    for arguments in (("-n", "nobody"), ("-t", "xds")):
        result = call("snapshot", "show", *arguments, hello)
        assert result.exit_code == 2
        assert "error: no " in result.stderr


def test_other_group(call: Call, hello: Path) -> None:
    assert len(call("snapshot", "show", "-g", "other/gateway", hello).stdout.splitlines()) == 1


def test_no_difference(call: Call, hello: Path) -> None:
    result = call("snapshot", "diff", "--exit-code", hello, hello)
    assert (result.exit_code, result.stdout) == (0, "no difference\n")


def changed(hello: Path) -> Path:
    after = Path(shutil.copytree(hello, hello.parent / "after"))
    edit(after / "routes.yaml", "name: hello-canary", "name: hello")
    return after


def test_difference_by_resource(call: Call, hello: Path) -> None:
    after = changed(hello)
    result = call("snapshot", "diff", hello, after)
    assert result.exit_code == 0
    assert "- CDS Backend/hello/hello-canary\n" in result.stdout
    assert "~ RDS 127.0.0.1:8080\n" in result.stdout
    assert ".route.cluster: Backend/hello/hello-canary → Backend/hello/hello\n" in result.stdout
    assert result.stdout.endswith("2 differences: 1 removed, 1 changed\n")


def test_exit_code_on_demand(call: Call, hello: Path) -> None:
    after = changed(hello)
    assert call("snapshot", "diff", "--exit-code", hello, after).exit_code == 1
    found = json.loads(call("snapshot", "diff", "-o", "json", hello, after).stdout)
    assert [(item["change"], item["type"]) for item in found] == [("removed", "CDS"), ("changed", "RDS")]


def test_moving_a_comment_is_no_difference(call: Call, hello: Path) -> None:
    after = Path(shutil.copytree(hello, hello.parent / "after"))
    edit(after / "routes.yaml", "# Everything else.", "#\n    # The rest.\n")
    assert call("snapshot", "diff", hello, after).stdout == "no difference\n"


def test_two_states_are_needed(call: Call, hello: Path) -> None:
    assert call("snapshot", "diff", hello).exit_code == 2
    assert call("snapshot", "diff", "--live", "--by", "behaviour", hello).exit_code == 2


def test_difference_by_behaviour(call: Call, hello: Path) -> None:
    after = changed(hello)
    found = json.loads(call("snapshot", "diff", "--by", "behaviour", "-o", "json", hello, after).stdout)
    assert {item["type"] for item in found} == {"request"}
    assert "Backend/hello/hello-canary → Backend/hello/hello" in found[-1]["details"]


def test_types_that_there_are(call: Call, hello: Path) -> None:
    """What the message offers can be asked for."""
    offered = (
        call("snapshot", "show", "-t", "xds", hello).stderr.strip().partition("there are ")[2].split(", ")
    )
    assert len(offered) == 8
    assert "RDS 127.0.0.1:8080" in call("snapshot", "show", *(f"-t{name}" for name in offered), hello).stdout


@pytest.mark.parametrize("group", ["edge", "a/b/c", "*/edge", "", "hello/edge,other"])
def test_what_is_no_group(call: Call, hello: Path, group: str) -> None:
    for command in (("snapshot", "show"), ("snapshot", "diff", hello), ("validate",), ("status",)):
        result = call(*command, hello, "-g", group)
        assert result.exit_code == 2
        assert "is no Gateway" in result.stderr


def test_groups_are_the_same_in_any_order(call: Call, hello: Path) -> None:
    assert (
        call("snapshot", "show", hello, "-g", "x/y, hello/edge").stdout
        == call("snapshot", "show", hello).stdout
    )


def test_errors_are_mentioned(call: Call, hello: Path) -> None:
    """A file that cannot be read takes its objects away: a difference must not look like an intended one."""
    after = changed(hello)
    (after / "routes.yaml").write_text("kind: [\n")
    result = call("snapshot", "diff", hello, after)
    assert "- CDS Backend/hello/hello" in result.stdout
    assert f"1 error in {after}: " in result.stderr
    assert f"error in {hello}:" not in result.stderr
