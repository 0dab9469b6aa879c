"""Certificates and keys: what is wrong with them, and that Envoy sees it the same way."""

from __future__ import annotations

import datetime
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from dragoman.translators.gateway import keypairs

Pair = tuple[bytes, bytes]


def issue(key: Any, common_name: str = "shop.example", names: tuple[str, ...] = ()) -> Pair:
    attributes = [x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)] if common_name else []
    start = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(attributes))
        .issuer_name(x509.Name(attributes))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=1))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), False)
    signed = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM), pem(key)


def pem(key: Any, password: bytes = b"") -> bytes:
    cipher = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    written: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher)
    return written


P256 = ec.generate_private_key(ec.SECP256R1())
PAIRS = {
    "P-256, expired": issue(P256),
    "P-384": issue(ec.generate_private_key(ec.SECP384R1())),
    "P-521": issue(ec.generate_private_key(ec.SECP521R1())),
    "secp256k1": issue(ec.generate_private_key(ec.SECP256K1())),
    "Ed25519": issue(ed25519.Ed25519PrivateKey.generate()),
    "RSA 2048": issue(rsa.generate_private_key(65537, 2048)),
    "RSA 1024": issue(rsa.generate_private_key(65537, 1024)),
    "no name": issue(P256, ""),
    "alternative name": issue(P256, "", ("shop.example",)),
    "strangers": (issue(P256)[0], pem(ec.generate_private_key(ec.SECP256R1()))),
    "locked": (issue(P256)[0], pem(P256, b"hunter2")),
    "no PEM": (b"hello", pem(P256)),
    "no key": (issue(P256)[0], b"hello"),
    "put together": (issue(P256)[0].strip() + issue(P256)[0], pem(P256)),
    "text before": (b"leaf: " + issue(P256)[0], pem(P256)),
    "text between": (issue(P256)[0] + b"root:\n" + issue(P256)[0].replace(b"\n", b"\r\n"), pem(P256)),
    "never ended": (issue(P256)[0] + b"-----BEGIN CERTIFICATE-----\n", pem(P256)),
    "dashes": (issue(P256)[0], pem(P256).strip() + b"-\n"),
}
CODES = {
    "secp256k1": "DRG1505",
    "RSA 1024": "DRG1505",
    "no name": "DRG1505",
    "strangers": "DRG1503",
    "locked": "DRG1502",
    "no PEM": "DRG1502",
    "no key": "DRG1502",
    "put together": "DRG1502",
    "text before": "DRG1502",
    "never ended": "DRG1502",
    "dashes": "DRG1502",
}


@pytest.mark.parametrize("name", PAIRS)
def test_flaws(name: str) -> None:
    flaw = keypairs.pair(*PAIRS[name])
    assert (flaw.code if flaw else None) == CODES.get(name)


@pytest.mark.parametrize(("certificate", "key", "at"), [(None, b"a", "tls.crt"), (b"a", None, "tls.key")])
def test_missing_entries(certificate: bytes | None, key: bytes | None, at: str) -> None:
    flaw = keypairs.pair(certificate, key)
    assert flaw is not None
    assert (flaw.code, flaw.key) == ("DRG1504", at)


@pytest.mark.parametrize(
    ("bundle", "code"),
    [
        (PAIRS["P-384"][0] * 2, None),
        (None, "DRG1504"),
        (b"", "DRG1504"),
        (b"hello", "DRG1502"),
        (b"x" + PAIRS["P-384"][0], "DRG1502"),
        (PAIRS["P-384"][0] + b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "DRG1502"),
    ],
)
def test_trust(bundle: bytes | None, code: str | None) -> None:
    flaw = keypairs.trust(bundle)
    assert (flaw.code if flaw else None) == code


@pytest.mark.envoy
@pytest.mark.parametrize("name", PAIRS)
def test_envoy_agrees(name: str, envoy_binary: Path, tmp_path: Path) -> None:
    chain, key = (part.decode() for part in PAIRS[name])
    context = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "tls_certificates": [
                {"certificate_chain": {"inline_string": chain}, "private_key": {"inline_string": key}}
            ]
        },
    }
    proxy = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "a",
        "cluster": "a",
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [
            {
                "transport_socket": {"name": "tls", "typed_config": context},
                "filters": [{"name": "tcp", "typed_config": proxy}],
            }
        ],
    }
    path = tmp_path / "bootstrap.json"
    path.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [{"name": "a"}]}}))
    command = [str(envoy_binary), "--mode", "validate", "-c", str(path), "--log-level", "error"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (done.returncode == 0) is (keypairs.pair(*PAIRS[name]) is None), done.stderr.decode()
