"""PEM: certificates with their keys, and trusted certificates. What is wrong with them, in words.

`decode` uses it on Secrets of type kubernetes.io/tls, so that a broken renewal leaves the last good
certificate in service; `secrets` on whatever a Gateway or a Backend refers to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cryptography import exceptions, x509
from cryptography.hazmat.primitives import serialization

from dragoman.diagnostics import Diagnostic, error
from dragoman.refs import Origin, Ref
from dragoman.translators.gateway.models import secret as model

TLS_TYPE: Final = "kubernetes.io/tls"


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why something cannot serve. `key` is the entry of the Secret or ConfigMap at fault."""

    code: str
    message: str
    key: str = ""


def check(ref: Ref, spec: model.Secret) -> Iterator[Diagnostic]:
    """A Secret that says it holds a certificate and key must hold them."""
    if spec.type != TLS_TYPE:
        return
    found = pair(spec.value("tls.crt"), spec.value("tls.key"))
    if found is not None:
        where = "stringData" if found.key in spec.string_data else "data"
        path = (where, found.key) if spec.value(found.key) is not None else (where,)
        yield error(found.code, found.message, Origin(ref, path))


def pair(certificate: bytes | None, key: bytes | None) -> Flaw | None:
    """What is wrong with a certificate chain (leaf first) and its key; None if nothing is."""
    if not certificate:
        return Flaw("DRG1504", "`tls.crt` is missing", "tls.crt")
    if not key:
        return Flaw("DRG1504", "`tls.key` is missing", "tls.key")
    try:
        leaf = x509.load_pem_x509_certificates(certificate)[0]
    except ValueError:
        return Flaw("DRG1502", "`tls.crt` holds no PEM certificate that can be read", "tls.crt")
    try:
        # What is checked is whether the key fits, not whether its primes are prime: that takes 20 ms each.
        private = serialization.load_pem_private_key(key, None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        return Flaw("DRG1502", "`tls.key` is encrypted; Envoy cannot ask for a password", "tls.key")
    except (ValueError, exceptions.UnsupportedAlgorithm):
        return Flaw("DRG1502", "`tls.key` holds no PEM private key that can be read", "tls.key")
    try:
        fits = leaf.public_key() == private.public_key()
    except (ValueError, exceptions.UnsupportedAlgorithm):
        return Flaw("DRG1502", "`tls.crt` bears a key of a kind that is not supported", "tls.crt")
    return (
        None
        if fits
        else Flaw("DRG1503", "`tls.key` is not the key of the certificate in `tls.crt`", "tls.key")
    )


def trust(certificates: bytes | None) -> Flaw | None:
    """What is wrong with a bundle of trusted certificates; None if nothing is."""
    if not certificates:
        return Flaw("DRG1504", "`ca.crt` is missing", "ca.crt")
    try:
        x509.load_pem_x509_certificates(certificates)
    except ValueError:
        return Flaw("DRG1502", "`ca.crt` holds no PEM certificate that can be read", "ca.crt")
    return None
