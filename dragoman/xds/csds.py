from __future__ import annotations
import grpc


def handler(ledger):
    return grpc.method_handlers_generic_handler("envoy.service.status.v3.ClientStatusDiscoveryService", {})
