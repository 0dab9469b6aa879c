"""What is known not to pass, by name and with the reason; and what belongs to later issues, by feature.

A case listed in `FAILURES` must fail: a pass makes the replay fail until the line is taken out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.conformance.cases import Case

LATER: Final[Mapping[str, str]] = {
    "Mesh": "a mesh, not a gateway",
    "BackendTLSPolicy": "BackendTLSPolicy is out of scope of issue 2",
    "ListenerSet": "ListenerSet is out of scope of issue 2",
    "GRPCRoute": "GRPCRoute is out of scope of issue 2",
    "TLSRoute": "TLSRoute is out of scope of issue 2",
    "TCPRoute": "TCPRoute is out of scope of issue 2",
    "UDPRoute": "UDPRoute is out of scope of issue 2",
    "GatewayInfrastructurePropagation": "nothing is generated to which metadata could be propagated",
}
"""Feature -> why a case that needs it is not applicable here."""

_CLIENT_CERTIFICATES: Final = (
    "client certificates on listeners come with a later issue;"
    " until then such a listener is refused, not left open"
)

FAILURES: Final[Mapping[str, str]] = {
    "GatewayFrontendClientCertificateValidation": _CLIENT_CERTIFICATES,
    "GatewayInvalidFrontendClientCertificateValidation": _CLIENT_CERTIFICATES,
}
"""Case -> why it fails today."""


def not_applicable(case: Case) -> str | None:
    return next((reason for feature, reason in LATER.items() if feature in case.features), None)
