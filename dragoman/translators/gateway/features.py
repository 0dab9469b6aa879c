"""What the Gateway API's conformance suite calls that which is supported, and what is not, and why.

GatewayClasses show the former in `status.supportedFeatures`; `docs/gateway-api.md` has both, and
`tests/unit/gateway/test_features.py` keeps the page and this module together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SUPPORTED: Final[Mapping[str, str]] = {
    "BackendTLSPolicy": "Services, by port name too; ConfigMaps, Secrets, or the system's authorities",
    "BackendTLSPolicySANValidation": "host names and URIs",
    "GRPCRoute": "",
    "GRPCRouteNamedRouteRule": "",
    "Gateway": "",
    "GatewayAddressEmpty": "the settings decide",
    "GatewayBackendClientCertificate": "such backends get a cluster of their own for each certificate",
    "GatewayFrontendClientCertificateValidation": "by default and per port; for ListenerSets too",
    "GatewayFrontendClientCertificateValidationInsecureFallback": "",
    "GatewayHTTPListenerIsolation": "",
    "GatewayHTTPSListenerDetectMisdirectedRequests": "421; above 64 names on a port, for covered ones",
    "GatewayPort8080": "",
    "GatewayStaticAddresses": "",
    "HTTPRoute": "",
    "HTTPRoute303RedirectStatusCode": "",
    "HTTPRoute307RedirectStatusCode": "",
    "HTTPRoute308RedirectStatusCode": "",
    "HTTPRouteBackendProtocolH2C": "",
    "HTTPRouteBackendProtocolWebSocket": "",
    "HTTPRouteBackendRequestHeaderModification": "and every other filter, on one of several backends",
    "HTTPRouteBackendTimeout": "",
    "HTTPRouteCORS": "",
    "HTTPRouteDestinationPortMatching": "",
    "HTTPRouteHostRewrite": "",
    "HTTPRouteMethodMatching": "",
    "HTTPRouteNamedRouteRule": "",
    "HTTPRouteParentRefPort": "",
    "HTTPRoutePathRedirect": "",
    "HTTPRoutePathRewrite": "",
    "HTTPRoutePortRedirect": "",
    "HTTPRouteQueryParamMatching": "",
    "HTTPRouteRequestMirror": "",
    "HTTPRouteRequestMultipleMirrors": "",
    "HTTPRouteRequestPercentageMirror": "",
    "HTTPRouteRequestTimeout": "",
    "HTTPRouteResponseHeaderModification": "",
    "HTTPRouteRetry": "the back-off has jitter, so a retry may come sooner",
    "HTTPRouteRetryBackendTimeout": "",
    "HTTPRouteRetryConnectionError": "",
    "HTTPRouteSchemeRedirect": "",
    "ListenerSet": "",
    "ReferenceGrant": "",
    "TCPRoute": "",
    "TLSRoute": "",
    "TLSRouteModeMixed": "",
    "TLSRouteModeTerminate": "",
    "UDPRoute": "",
}
"""Feature -> remark, in the order that the specification prescribes."""

UNSUPPORTED: Final[Mapping[str, str]] = {
    "GatewayInfrastructurePropagation": "only a bootstrap is generated; `dragoman bootstrap -f` has them",
    "HTTPRouteRetryBackoff": "Envoy's back-off is jittered: a retry may come before the time that is said",
    "Mesh": "routes attach to Gateways and ListenerSets, not to Services",
}
"""Feature -> why not."""
