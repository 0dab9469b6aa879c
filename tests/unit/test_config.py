"""Settings from a file, the environment and flags: who wins, and what is said of mistakes."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dragoman import config


def load(text: str = "", /, flags: Mapping[str, Any] | None = None, **environment: str) -> config.Settings:
    path = None
    if text:
        path = Path("settings.yaml")
        path.write_text(text)
    names = {f"DRAGOMAN_{name.upper()}": value for name, value in environment.items()}
    return config.load(path, environment=names, flags=flags)


def mistakes(text: str = "", /, flags: Mapping[str, Any] | None = None, **environment: str) -> list[str]:
    with pytest.raises(ValueError) as caught:
        load(text, flags, **environment)
    return str(caught.value).splitlines()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_nothing_is_open_to_the_network_unless_told() -> None:
    settings = load()
    assert settings == config.Settings()
    for address in (settings.xds.address, settings.admin.address, settings.gateways.address):
        assert ipaddress.ip_address(address).is_loopback
    assert (settings.xds.tls, settings.xds.nodes) == (None, ())


def test_flags_win_over_the_environment_and_that_over_the_file() -> None:
    text = "xds: {port: 1, drain: 1.5, address: 10.0.0.1}\nlog:\n  level: debug\n"
    settings = load(text, {"xds.port": 3, "log.format": None}, xds_port="2", xds_address="10.0.0.2")
    assert settings.xds == config.Xds(port=3, drain=1.5, address="10.0.0.2")
    assert settings.log == config.Log(level="debug")
    assert settings.admin == config.Admin()


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGOMAN_ADMIN_PORT", "19001")
    assert config.load().admin.port == 19001


@pytest.mark.parametrize("text", ["# nothing\n", "---\n", "xds:\nlog:\n", "xds: {}\n", "\ufeffxds: {}\r\n"])
def test_empty_files_and_sections_are_the_defaults(text: str) -> None:
    assert load(text) == config.Settings()
    assert load(text, xds_port="5").xds.port == 5


@pytest.mark.parametrize("address", ["::", "::1", "127.1", "0.0.0.0", "0", "off"])
def test_texts_from_the_environment_are_taken_as_they_are(address: str) -> None:
    assert load(admin_address=address).admin.address == address


def test_other_values_from_the_environment_are_yaml() -> None:
    settings = load(
        xds_nodes="[{id: 'edge-*', gateways: [shop/edge]}]",
        xds_tls="{certificate: tls.crt, key: tls.key}",
        batch_window="0.25",
        xds_max_message="1000",
    )
    assert settings.xds.nodes == (config.NodeRule(id="edge-*", gateways=("shop/edge",)),)
    assert settings.xds.tls == config.XdsTls(certificate=Path("tls.crt"), key=Path("tls.key"))
    assert (settings.batch.window, settings.xds.max_message) == (0.25, 1000)


def test_a_variable_set_to_nothing_is_not_set() -> None:
    assert load("xds: {port: 7}", xds_port="", log_level="").xds.port == 7


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("xds_port", "tcp://10.96.0.7:18000"),
        ("xds_service_host", "10.96.0.7"),
        ("xds_service_port", "18000"),
        ("xds_service_port_grpc", "18000"),
        ("xds_port_18000_tcp", "tcp://10.96.0.7:18000"),
        ("xds_port_18000_tcp_addr", "10.96.0.7"),
        ("admin_port_18001_tcp_proto", "tcp"),
        ("server", "http://127.0.0.1:18001"),
        ("conformance", "/somewhere"),
    ],
)
def test_what_others_put_into_the_environment_is_no_setting(name: str, value: str) -> None:
    assert load(**{name: value}) == config.Settings()


def test_node_rules() -> None:
    text = """\
xds:
  nodes:
  - {id: bad-*, reject: true}
  - {san: "spiffe://shop/*", gateways: ["*", shop/*, shop/edge], secrets: false}
  - {cluster: edge, metadata: {region: eu-*}}
"""
    assert load(text).xds.nodes == (
        config.NodeRule(id="bad-*", reject=True),
        config.NodeRule(san="spiffe://shop/*", gateways=("*", "shop/*", "shop/edge"), secrets=False),
        config.NodeRule(cluster="edge", metadata={"region": "eu-*"}),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("xds: {prot: 1}", "settings: xds.prot: there is no such setting; did you mean `port`?"),
        ("xsd: {port: 1}", "settings: xsd: there is no such setting; did you mean `xds`?"),
        (
            "log: {wherever: x}",
            "settings: log.wherever: there is no such setting; there are level, format",
        ),
        (
            "xds: {tls: {certificate: a, key: b, client-ca: c}}",
            "settings: xds.tls.client-ca: there is no such setting; did you mean `client_ca`?",
        ),
        (
            "xds: {nodes: [{}, {gateway: [a/b]}]}",
            "settings: xds.nodes.1.gateway: there is no such setting; did you mean `gateways`?",
        ),
    ],
)
def test_unknown_settings_are_named_with_what_may_be_meant(text: str, expected: str) -> None:
    assert mistakes(text) == [expected]


def test_unknown_variables_of_a_section_are_named_too() -> None:
    expected = "settings: DRAGOMAN_XDS_PROT: there is no such setting; did you mean `DRAGOMAN_XDS_PORT`?"
    assert mistakes(xds_prot="19000") == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("xds: {port: many}", "xds.port: should be a valid integer"),
        ("xds: {port: yes}", "xds.port: should be a valid integer"),
        ("xds: {port: 1.5}", "xds.port: should be a valid integer"),
        ("xds: {port: 65536}", "xds.port: should be less than or equal to 65535"),
        ("admin: {port: -1}", "admin.port: should be greater than or equal to 0"),
        ("xds: {drain: 10s}", "xds.drain: should be a valid number"),
        ("xds: {drain: -1}", "xds.drain: should be greater than or equal to 0"),
        ("xds: {drain: .inf}", "xds.drain: should be a finite number"),
        ("xds: {max_message: 0}", "xds.max_message: should be greater than 0"),
        ("xds: {address: 10}", "xds.address: should be a valid string"),
        ("xds: 12", "xds: should be a mapping"),
        ("xds: [port]", "xds: should be a mapping"),
        ("log: {level: loud}", "log.level: should be 'debug', 'info', 'warning' or 'error'"),
        ("gateways: {addresses: many}", "gateways.addresses: should be 'shared' or 'per-gateway'"),
        ("xds: {tls: {certificate: a}}", "xds.tls.key: is missing"),
        ("xds: {nodes: {id: a}}", "xds.nodes: should be a valid tuple"),
        ("xds: {nodes: [{gateways: shop/edge}]}", "xds.nodes.0.gateways: should be a valid tuple"),
        ("xds: {nodes: [{gateways: [edge]}]}", "xds.nodes.0.gateways.0: should be `namespace/name`, "),
        ("xds: {nodes: [{gateways: ['sh*/edge']}]}", "xds.nodes.0.gateways.0: should be `namespace/name`, "),
        ("xds: {nodes: [{metadata: {shard: 1}}]}", "xds.nodes.0.metadata.shard: should be a valid string"),
        ("xds: {nodes: [{reject: perhaps}]}", "xds.nodes.0.reject: should be a valid boolean"),
        ("ratelimit: {endpoints: [nowhere]}", "ratelimit.endpoints.0: should be `HOST:PORT` or `unix:/PATH`"),
        (
            "ratelimit: {endpoints: ['unix:/run/a.sock', 'rls.infra:8081']}",
            "ratelimit: `endpoints` should not have sockets beside host names",
        ),
        (
            "ratelimit: {stream_endpoints: ['rls.infra:8081', 'unix:/run/a.sock']}",
            "ratelimit: `stream_endpoints` should not have sockets beside host names",
        ),
        (
            "ratelimit: {endpoints: ['10.0.0.3:65536']}",
            "ratelimit: `endpoints`: the port of `10.0.0.3:65536` should be 65535 at most",
        ),
        (
            "ratelimit: {endpoints: ['[1:2]:8081']}",
            "ratelimit: `endpoints`: `[1:2]:8081` should have an IPv6 address",
        ),
        (
            f"ratelimit: {{endpoints: ['unix:/{'x' * 107}']}}",
            "ratelimit: `endpoints`: the path of a socket should have 107 bytes at most",
        ),
        (
            "ratelimit: {endpoints: ['unix:/run/a.sock'], trust: {ca: ca.pem}}",
            "ratelimit: `trust.name` should say the certificate's name",
        ),
    ],
)
def test_values_of_the_wrong_form(text: str, expected: str) -> None:
    (found,) = mistakes(text)
    assert found.startswith(f"settings: {expected}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- xds", "settings.yaml: settings are a mapping"),
        ("[]", "settings.yaml: settings are a mapping"),
        ("0", "settings.yaml: settings are a mapping"),
        ("xds: [\n", "settings.yaml:2:1: is not valid YAML"),
        ("xds: *password\n", "settings.yaml:1:6: is not valid YAML"),
        ("a: \x01", "settings.yaml: is not valid YAML"),
        ("xds: {drain: 2026-13-45}", "settings.yaml: is not valid YAML"),
        ("xds: {port: !!int many}", "settings.yaml: is not valid YAML"),
        ("[" * 5000, "settings.yaml: is not valid YAML"),
        ("log:\nxds: {port: 1}\nxds:\n", "settings.yaml:3:1: the key `xds` stands here for the second time"),
        ("xds: {port: 1, port: 2}", "settings.yaml:1:16: the key `port` stands here for the second time"),
    ],
)
def test_files_that_are_no_settings(text: str, expected: str) -> None:
    assert mistakes(text) == [expected]


@pytest.mark.parametrize("value", ["[", "2026-13-45", "!!int many", "9" * 5000, "[" * 5000])
def test_variables_that_are_no_values(value: str) -> None:
    assert mistakes(xds_drain=value, log_level="loud") == [
        "settings: DRAGOMAN_XDS_DRAIN: is not valid YAML",
        "settings: log.level: should be 'debug', 'info', 'warning' or 'error' (from DRAGOMAN_LOG_LEVEL)",
    ]


def test_a_key_may_stand_in_what_is_merged_too() -> None:
    rules = load("xds: {nodes: [&a {id: a, gateways: [shop/edge]}, {<<: *a, id: b}]}").xds.nodes
    assert rules == tuple(config.NodeRule(id=name, gateways=("shop/edge",)) for name in "ab")


def test_a_file_that_is_no_text() -> None:
    Path("binary.yaml").write_bytes(b"xds: \xff\n")
    with pytest.raises(ValueError, match=r"^binary\.yaml: is not UTF-8$"):
        config.load(Path("binary.yaml"), environment={})


def test_a_file_that_is_not_there_is_an_os_error() -> None:
    with pytest.raises(FileNotFoundError):
        config.load(Path("missing.yaml"), environment={})


def test_a_wrong_variable_is_named_and_every_mistake_is_told_at_once() -> None:
    found = mistakes(
        "xds: 12\nlog: {level: loud}", admin_port="many", xds_port="5", xds_nodes="[", batch_slcie="1"
    )
    assert found == [
        "settings: DRAGOMAN_XDS_NODES: is not valid YAML",
        "settings: DRAGOMAN_BATCH_SLCIE: there is no such setting; did you mean `DRAGOMAN_BATCH_SLICE`?",
        "settings: xds: should be a mapping",
        "settings: admin.port: should be a valid integer (from DRAGOMAN_ADMIN_PORT)",
        "settings: log.level: should be 'debug', 'info', 'warning' or 'error'",
    ]


def test_a_flag_takes_the_blame_from_the_variable() -> None:
    (found,) = mistakes(flags={"xds.port": 70_000}, xds_port="5")
    assert found == "settings: xds.port: should be less than or equal to 65535"


def test_what_a_setting_holds_is_not_repeated() -> None:
    (found,) = mistakes(xds_tls="hunter2")
    assert "hunter2" not in found


def test_endpoints_that_go_together() -> None:
    found = load("ratelimit: {endpoints: ['rls.infra:8081', '10.0.0.3:8081', '[::1]:8081']}").ratelimit
    assert found.asked == (("rls.infra", 8081), ("10.0.0.3", 8081), ("::1", 8081))
    socket = f"unix:/{'x' * 106}"
    found = load(f"ratelimit: {{endpoints: ['{socket}', '10.0.0.3:65535']}}").ratelimit
    assert found.asked == ((socket, 0), ("10.0.0.3", 65535))


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().xds.port = 1  # type: ignore[misc]
