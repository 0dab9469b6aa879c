"""Dumps: everything opened, nothing secret."""

from __future__ import annotations

import base64
import json

from dragoman import proto, resource
from dragoman.envoy import dump, listeners, secrets
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.cluster import v3 as cluster_proto
from dragoman.proto.envoy.extensions.transport_sockets.tls import v3 as tls
from tests.unit.envoy.build import BIND, PLAIN, secret


def test_extensions_are_opened() -> None:
    shown = dump.to_dict(listeners.encode(ir.Listener(BIND, (ir.FilterChain("", None, PLAIN),))))
    manager = shown["filter_chains"][0]["filters"][0]["typed_config"]
    assert manager["@type"].endswith("HttpConnectionManager")
    assert manager["rds"]["route_config_name"] == "127.0.0.1:8080"


def test_secrets_leave_fingerprints() -> None:
    shown = dump.to_dict(secrets.encode(ir.Secret(secret("cert"), b"the chain", b"the key")))
    pair = shown["tls_certificate"]
    assert pair["private_key"] == "[redacted]"
    assert pair["certificate_chain"]["inline_bytes"].startswith("sha256:")
    text = json.dumps(shown)
    assert base64.b64encode(b"the key").decode() not in text
    again = dump.to_dict(secrets.encode(ir.Secret(secret("cert"), b"another chain", b"the key")))
    assert again["tls_certificate"]["certificate_chain"] != pair["certificate_chain"]


def test_keys_are_redacted_wherever_they_stand() -> None:
    context = tls.UpstreamTlsContext()
    pair = context.common_tls_context.tls_certificates.add()
    pair.private_key.inline_string = "the key"
    pair.password.inline_string = "the password"
    pair.certificate_chain.inline_string = "the chain"
    cluster = cluster_proto.Cluster(name="c")
    cluster.transport_socket.typed_config.CopyFrom(proto.pack_any(context))
    text = json.dumps(dump.to_dict(resource.make(resource.CLUSTER, "c", proto.serialize(cluster))))
    assert "the key" not in text
    assert "the password" not in text
    assert "the chain" not in text
    assert text.count("[redacted]") == 2
