"""What is known not to pass, by name and with the reason; and what does not concern Dragoman, by feature or
by name.

A case listed in `FAILURES` must fail: a pass makes the replay fail until the line is taken out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.conformance.cases import Case

FEATURES: Final[Mapping[str, str]] = {
    "Mesh": "a mesh, not a gateway",
    "GatewayInfrastructurePropagation": "nothing is generated to which metadata could be propagated",
}
"""Feature -> why a case that needs it is not applicable here."""

_TERMINATES: Final = "for implementations without the feature, which is supported here"

CASES: Final[Mapping[str, str]] = {
    "TLSRouteListenerMixedTerminationNotSupported": _TERMINATES,
    "TLSRouteListenerTerminateNotSupported": _TERMINATES,
}
"""Case -> why it is not applicable here, though its features are."""

FAILURES: Final[Mapping[str, str]] = {}
"""Case -> why it fails today."""


def not_applicable(case: Case) -> str | None:
    if case.name in CASES:
        return CASES[case.name]
    return next((reason for feature, reason in FEATURES.items() if feature in case.features), None)
