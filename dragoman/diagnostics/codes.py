"""The registry of diagnostic codes. A code is never used again for something else.

DRG1xxx input, 2xxx references, 3xxx losses in translation, 4xxx Envoy, 5xxx run time. Each has its page
in `docs/diagnostics/<code>.md`; a test says so.
"""

from __future__ import annotations

from typing import Final

CODES: Final[dict[str, str]] = {
    # 10xx: reading files (sources)
    "DRG1001": "the file is not valid YAML or JSON",
    # 11xx: decoding a document into an object (translators/base, models)
    "DRG1101": "a field is not known",
    "DRG1102": "a required field is missing",
    "DRG1103": "a value has the wrong type or form",
    "DRG1104": "a value is out of range",
    "DRG1105": "the kind is not read by Dragoman",
    # 12xx: Gateway and GatewayClass
    # 13xx: routes
    # 14xx: backends, Services, EndpointSlices
    # 15xx: Secrets and certificates
    # 2xxx: references
    # 3xxx: losses in translation
    # 4xxx: Envoy
    # 39xx: Gateways that meet in one Envoy (graph/pipeline)
    "DRG3901": "another Gateway holds the port with another protocol",
    # 5xxx: run time
}
