"""Rules of a ClientPolicy that its model cannot say: names of ciphers and curves, networks, header names,
what contradicts. Checked when it is decoded, so that nothing of it is refused by Envoy later.

What only policies together can get wrong (a minimum above a maximum) is found where they are merged
(`policies.clients`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from dragoman.diagnostics import Diagnostic, error
from dragoman.refs import Origin, Ref
from dragoman.translators.gateway import complaints, matching, rules_policies
from dragoman.translators.gateway.models import (
    client_addresses,
    client_http,
    client_tls,
    clientpolicy,
)

CIPHERS: Final = (
    *("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
    *("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
    *("ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"),
    *("ECDHE-ECDSA-AES128-SHA256", "ECDHE-RSA-AES128-SHA256"),
    *("ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES128-SHA"),
    *("ECDHE-ECDSA-AES256-SHA", "ECDHE-RSA-AES256-SHA"),
    *("AES128-GCM-SHA256", "AES256-GCM-SHA384", "AES128-SHA", "AES256-SHA"),
)
"""Envoy's cipher suites up to TLS 1.2 for certificates, by the names that it knows them by."""
CURVES: Final = ("X25519", "P-256", "P-384", "P-521", "X25519MLKEM768", "MLKEM1024")
"""Its groups for the key exchange."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_VALUE: Final = re.compile(r"[ -~\t]*")
_PROTOCOL: Final = re.compile(r"[!-~]{1,255}")
_GROUP: Final = re.compile(r"\[([^\[\]]+)\]|([^\[\]|]+)")
_LIKENESSES: Final = ("exact", "prefix", "suffix", "regex")
_SOURCES: Final = ("trustedHops", "trustedNetworks", "header")


def check(ref: Ref, spec: clientpolicy.ClientPolicy) -> Iterator[Diagnostic]:
    """Everything about one ClientPolicy, its targets included."""
    yield from rules_policies.check(ref, spec)
    where = Origin(ref, ("spec",))
    if spec.tls is not None:
        yield from _tls(spec.tls, where.at("tls"))
    if spec.client_validation is not None:
        names = spec.client_validation.subject_alt_names or ()
        for at, name in enumerate(names):
            yield from _name(name, where.at("clientValidation", "subjectAltNames", at))
    if spec.client_address is not None:
        yield from _address(spec.client_address, where.at("clientAddress"))
    if spec.early_headers is not None:
        yield from _early(spec.early_headers, where.at("earlyHeaders"))
    if spec.http3 is not None and spec.http3.max_age is not None and spec.http3.max_age % 1:
        message = f"`maxAge` {spec.http3.max_age:g}s is not whole"
        yield error("DRG1103", message, where.at("http3", "maxAge"), label="expected whole seconds")


def names(cipher: str) -> list[str]:
    """The names in an entry of `ciphers`: one, or those of a group."""
    found = _GROUP.fullmatch(cipher)
    return (found[1] or found[2]).split("|") if found else [cipher]


def _tls(tls: client_tls.Tls, where: Origin) -> Iterator[Diagnostic]:
    for at, entry in enumerate(tls.ciphers or ()):
        for name in names(entry):
            if name not in CIPHERS:
                yield _unknown("cipher suite", name, CIPHERS, where.at("ciphers", at))
    for at, curve in enumerate(tls.curves or ()):
        if curve not in CURVES:
            yield _unknown("curve", curve, CURVES, where.at("curves", at))
    for field, several in (("ciphers", tls.ciphers), ("curves", tls.curves), ("alpn", tls.alpn)):
        if several is not None and len(set(several)) < len(several):
            yield error("DRG1108", f"`{field}` names something twice", where.at(field))
    for at, protocol in enumerate(tls.alpn or ()):
        if _PROTOCOL.fullmatch(protocol) is None:
            message = f"`alpn[{at}]` is malformed"
            label = "expected a protocol such as `h2` or `http/1.1`"
            yield error("DRG1103", message, where.at("alpn", at), label=label)


def _unknown(what: str, name: str, known: tuple[str, ...], where: Origin) -> Diagnostic:
    label = f"expected {', '.join(known)}" if len(known) < 8 else ""
    hint = complaints.near(name, known)
    if name.startswith("TLS_"):
        hint = "the cipher suites of TLS 1.3 are fixed; the others go by OpenSSL's names"
    return error("DRG1106", f"{what} `{name}` is not known", where, label=label, help=hint)


def _name(name: client_tls.SubjectAltName, where: Origin) -> Iterator[Diagnostic]:
    said = [way for way in _LIKENESSES if getattr(name, way) is not None]
    if len(said) != 1:
        message = "exactly one of `exact`, `prefix`, `suffix` and `regex` says what the name is like"
        yield error("DRG1108" if said else "DRG1102", message, where)
        return
    if name.regex is not None and (flaw := matching.flaw_of(name.regex)):
        yield matching.bad(name.regex, flaw, where.at("regex"))
    if name.type == "IPAddress" and name.exact is not None and not _is_ip(name.exact):
        message = f"`exact` {name.exact} is malformed"
        yield error("DRG1103", message, where.at("exact"), label="expected an IP address")


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def network(text: str) -> str | None:
    """A network as `10.0.0.0/8`, of a network or an address; None if it is neither."""
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return None


def _address(address: client_addresses.ClientAddress, where: Origin) -> Iterator[Diagnostic]:
    said = [
        field
        for field, value in zip(
            _SOURCES, (address.trusted_hops, address.trusted_networks, address.header), strict=True
        )
        if value is not None
    ]
    if len(said) != 1 and not (address.disabled and not said):
        message = f"exactly one of {', '.join(f'`{one}`' for one in _SOURCES)} says where the address is"
        yield error("DRG1108" if said else "DRG1102", message, where)
    for at, one in enumerate(address.trusted_networks or ()):
        if network(one) is None:
            message = f"`trustedNetworks[{at}]` {one} is malformed"
            label = "expected a network such as 10.0.0.0/8 or 2001:db8::/32"
            yield error("DRG1103", message, where.at("trustedNetworks", at), label=label)
    if address.header is not None:
        yield from _header(address.header, where.at("header"))
    elif address.required is not None:
        yield error("DRG1108", "`required` goes with `header` alone", where.at("required"))


def _early(early: client_http.EarlyHeaders, where: Origin) -> Iterator[Diagnostic]:
    for field, several in (("set", early.set), ("add", early.add)):
        for at, one in enumerate(several or ()):
            yield from _header(one.name, where.at(field, at, "name"))
            if _VALUE.fullmatch(one.value) is None:
                message = f"the value of `{one.name}` is malformed"
                label = "expected visible ASCII and blanks"
                yield error("DRG1103", message, where.at(field, at, "value"), label=label)
    for at, name in enumerate(early.remove or ()):
        yield from _header(name, where.at("remove", at))


def _header(name: str, where: Origin) -> Iterator[Diagnostic]:
    if _TOKEN.fullmatch(name) is None:
        yield error("DRG1103", f"`{name}` is malformed", where, label="expected an HTTP header's name")
    elif name.lower() == "host":
        hint = "a route can rewrite the host (URLRewrite), after it is chosen"
        yield error("DRG1106", "`host` cannot be used here", where, help=hint)
