"""The registry of diagnostic codes. A code is never used again for something else.

DRG1xxx input, 2xxx references, 3xxx losses in translation, 4xxx Envoy, 5xxx run time. Each has its page
in `docs/diagnostics/<code>.md`; a test says so.
"""

from __future__ import annotations

from typing import Final

CODES: Final[dict[str, str]] = {
    # 10xx: reading files (sources)
    "DRG1001": "the file is not valid YAML or JSON",
    "DRG1002": "a file or folder cannot be read",
    "DRG1003": "a document is not an object",
    "DRG1004": "an object has no name",
    "DRG1005": "a name or namespace is not valid",
    "DRG1006": "an object stands in two places",
    "DRG1007": "a key stands twice in a mapping",
    "DRG1008": "changes are noticed by polling only",
    # 11xx: decoding a document into an object (translators/base, models)
    "DRG1101": "a field is not known",
    "DRG1102": "a required field is missing",
    "DRG1103": "a value has the wrong type or form",
    "DRG1104": "a value is out of range",
    "DRG1105": "the kind is not read by Dragoman",
    "DRG1106": "a value is not one of those allowed",
    "DRG1107": "a list has too few or too many entries",
    "DRG1108": "fields contradict each other",
    "DRG1109": "the API version is not known",
    "DRG1110": "a format operator is not usable",
    # 12xx: Gateway and GatewayClass
    "DRG1201": "the listener's protocol is not supported",
    "DRG1202": "listeners of a Gateway conflict",
    "DRG1203": "the type of address is not supported",
    "DRG1204": "the address cannot be used",
    "DRG1205": "the parameters cannot be used",
    "DRG1206": "the listener admits a kind of route that is not supported",
    "DRG1207": "the listener's TLS cannot be served",
    "DRG1208": "there is no listener that can be served",
    "DRG1209": "the Gateway does not take the ListenerSet",
    "DRG1210": "another policy is in force for the target",
    # 13xx: routes
    "DRG1301": "the regular expression is not valid RE2",
    "DRG1302": "the rule and one of its backends have the same filter",
    "DRG1303": "no listener admits the route",
    "DRG1304": "no listener serves the route's host names",
    "DRG1305": "the filter is not supported",
    "DRG1306": "the rule has no backend that gets traffic",
    "DRG1307": "the priority is not a whole number",
    "DRG1308": "a route of another kind has the host name",
    "DRG1309": "an older route has the listener",
    # 14xx: backends, Services, EndpointSlices
    "DRG1401": "a Service of type ExternalName is not supported",
    "DRG1402": "the Service port's protocol cannot be spoken",
    "DRG1403": "the EndpointSlice names no Service",
    "DRG1404": "the EndpointSlice's addresses cannot be used",
    "DRG1405": "the Service has no endpoints described",
    # 15xx: Secrets and certificates
    "DRG1501": "a Secret's value is not base64",
    "DRG1502": "a certificate or key cannot be read",
    "DRG1503": "the key does not belong to the certificate",
    "DRG1504": "an entry of a Secret or ConfigMap is missing",
    "DRG1505": "Envoy would refuse the certificate",
    # 16xx: policies
    "DRG1601": "the policy's target is not there",
    "DRG1602": "the policies of a rule's backends differ",
    "DRG1611": "times and retries of policies do not fit together",
    # 17xx: Rollouts
    "DRG1701": "the Rollout's route is not there",
    "DRG1702": "the Rollout's rule is not there",
    "DRG1703": "the Rollout's backend is not one of the rule's",
    "DRG1704": "an older Rollout has the rule",
    # 19xx: files of the rate-limit service
    "DRG1901": "a descriptor stands twice",
    "DRG1902": "a domain stands in two files",
    # 197x: quotas (limits that Envoy keeps by itself)
    "DRG1971": "Envoy cannot keep the quota as it is said",
    "DRG1972": "the quota lets everything pass when the service is gone",
    "DRG1973": "the quota has too many buckets",
    "DRG1974": "the limit is not one for quotas",
    # 165x: ClientPolicy
    "DRG1652": "HTTP/3 cannot be served on the listener",
    # 18xx: who may pass
    "DRG1801": "the keys of an issuer cannot be used",
    "DRG1802": "the AuthPolicy is not valid, so nobody passes",
    "DRG1811": "an API key cannot be used",
    "DRG1812": "two clients have the same credential",
    "DRG1821": "the service that is asked who may pass is not there",
    "DRG1841": "nobody can log in",
    "DRG1842": "the way back from a login leads to no rule under it",
    "DRG1843": "a login sends secrets over plain HTTP",
    "DRG1851": "a user cannot come in with a password",
    "DRG1852": "the users of a policy are not there",
    "DRG1861": "nobody can be asked about tokens",
    "DRG1862": "API keys are known in two ways",
    "DRG1863": "every credential is needed here",
    "DRG1864": "nothing reads the claims that rules ask for",
    # 195x: RateLimitPolicy
    "DRG1951": "a limit is not whole",
    "DRG1952": "Envoy itself cannot count it so",
    "DRG1953": "the limit counts by who the client is, and nobody asks",
    "DRG1954": "two limits cannot be told apart when one denies",
    # 2xxx: references
    "DRG2001": "the parent is not there",
    "DRG2002": "the parent has no such listener",
    "DRG2003": "the backend is not there",
    "DRG2004": "the Service has no such port",
    "DRG2005": "the reference is to a kind that cannot be used here",
    "DRG2006": "the reference crosses namespaces without a grant",
    "DRG2007": "the certificate that is referred to cannot be used",
    "DRG2008": "the GatewayClass is not there",
    # 3xxx: losses in translation
    "DRG3001": "a field has no effect",
    "DRG3002": "a field is carried over approximately",
    # 4xxx: Envoy
    "DRG4001": "Envoy refuses a part of the snapshot",
    "DRG4101": "a proxy refused a resource",
    "DRG4102": "a proxy was turned away",
    "DRG4103": "a new certificate of a port of ours is not usable",
    "DRG4104": "a proxy does not say which filter chains it has",
    # 39xx: Gateways that meet in one Envoy (graph/pipeline)
    "DRG3901": "another Gateway holds the port with another protocol",
    "DRG3902": "listeners of one port share what a ClientPolicy says",
    # 5xxx: run time
    "DRG5001": "the settings are wrong",
    "DRG5002": "a path that was named cannot be read",
    "DRG5003": "an address cannot be listened on",
    "DRG5004": "no control plane answers",
    "DRG5005": "the Envoy binary is not there",
    "DRG5006": "the local Envoy does not come up",
    "DRG5101": "how far rollouts are cannot be kept",
}
