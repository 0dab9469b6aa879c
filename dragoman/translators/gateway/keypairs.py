"""PEM: certificates with their keys, and trusted certificates. What is wrong with them, in words.

`decode` uses it on Secrets of type kubernetes.io/tls, so that a broken renewal leaves the last good
certificate in service; `secrets` on whatever a Gateway or a Backend refers to. The library that reads
certificates takes as long to import as a small folder to validate, so only those wait for it who have some.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dragoman.diagnostics import Diagnostic, error
from dragoman.refs import Origin, Ref
from dragoman.translators.gateway.models import secret as model

if TYPE_CHECKING:
    from cryptography import x509

TLS_TYPE: Final = "kubernetes.io/tls"
_CRL: Final = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)
_MARK: Final = re.compile(rb"-----(?:BEGIN|END) ")
_MARKED: Final = re.compile(rb"^-----(BEGIN|END) [^-\n]+-----[ \t\r]*$", re.MULTILINE)
_RSA_BITS: Final = 2048
_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")


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
    for text, name in ((certificate, "tls.crt"), (key, "tls.key")):
        if not _framed(text):
            return _unframed(name)
    from cryptography import exceptions, x509
    from cryptography.hazmat.primitives import serialization

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
        public = leaf.public_key()
        fits = public == private.public_key()
    except (ValueError, exceptions.UnsupportedAlgorithm):
        return Flaw("DRG1502", "`tls.crt` bears a key of a kind that is not supported", "tls.crt")
    if not fits:
        return Flaw("DRG1503", "`tls.key` is not the key of the certificate in `tls.crt`", "tls.key")
    unfit = _unfit(leaf, public)
    return (
        Flaw("DRG1505", f"Envoy refuses the certificate in `tls.crt`: {unfit}", "tls.crt") if unfit else None
    )


def _unfit(leaf: x509.Certificate, public: object) -> str:
    """Why Envoy 1.40 would refuse a certificate that is well formed; "" if it would not."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if isinstance(public, rsa.RSAPublicKey) and public.key_size < _RSA_BITS:
        return f"its RSA key has {public.key_size} bits, and {_RSA_BITS} is the least"
    if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name not in _CURVES:
        return f"its key is on curve {public.curve.name}; P-256, P-384 and P-521 are served"
    if leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME):
        return ""
    try:
        leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return "it bears no name, neither as common name nor as subject alternative name"
    except ValueError:
        return "its extensions cannot be read"
    return ""


def trust(certificates: bytes | None) -> Flaw | None:
    """What is wrong with a bundle of trusted certificates; None if nothing is."""
    if not certificates:
        return Flaw("DRG1504", "`ca.crt` is missing", "ca.crt")
    if not _framed(certificates):
        return _unframed("ca.crt")
    from cryptography import x509

    try:
        x509.load_pem_x509_certificates(certificates)
    except ValueError:
        return Flaw("DRG1502", "`ca.crt` holds no PEM certificate that can be read", "ca.crt")
    try:
        for block in _CRL.findall(certificates):  # Envoy reads these there too
            x509.load_pem_x509_crl(block)
    except ValueError:
        return Flaw("DRG1502", "`ca.crt` holds a list of revoked certificates that cannot be read", "ca.crt")
    return None


def revoked(lists: bytes | None) -> Flaw | None:
    """What is wrong with lists of revoked certificates; None if nothing is."""
    if not lists:
        return Flaw("DRG1504", "`ca.crl` is missing", "ca.crl")
    if not _framed(lists):
        return _unframed("ca.crl")
    from cryptography import x509

    blocks = _CRL.findall(lists)
    try:
        for block in blocks:
            x509.load_pem_x509_crl(block)
    except ValueError:
        blocks = []
    if not blocks:
        return Flaw(
            "DRG1502", "`ca.crl` holds no PEM list of revoked certificates that can be read", "ca.crl"
        )
    return None


def _framed(text: bytes) -> bool:
    """Whether what begins and ends blocks stands in lines of its own, and by turns, as Envoy wants it: files
    that are put together without a line's end between them are not such."""
    marked = _MARKED.findall(text)
    by_turns = marked == [b"BEGIN", b"END"] * (len(marked) // 2)
    return by_turns and len(marked) == len(_MARK.findall(text))


def _unframed(name: str) -> Flaw:
    message = f"a `-----BEGIN` or `-----END` in `{name}` stands alone, or not in a line of its own"
    return Flaw("DRG1502", message, name)
