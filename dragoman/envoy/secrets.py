"""Certificates, keys, trusted certificates and other secrets, for SDS. Called by the pipeline when one
changes.

The bytes stay bytes: nothing here prints, logs or keeps them, and the resource is marked sensitive.
"""

from __future__ import annotations

from dragoman import proto, resource
from dragoman.envoy import naming
from dragoman.ir import model as ir
from dragoman.proto.envoy.extensions.transport_sockets.tls import v3 as tls


def encode(secret: ir.Secret) -> resource.Resource:
    """A certificate with its key; or trusted certificates where the key's use is `ca`, with the list of
    revoked ones if there is one; or plain bytes."""
    name = naming.secret(secret.key)
    message = tls.Secret(name=name)
    if secret.generic:
        message.generic_secret.secret.inline_bytes = secret.generic
    elif secret.ca:
        write_authorities(message.validation_context, secret)
    else:
        write_certificate(message.tls_certificate, secret)
    return resource.make(resource.SECRET, name, proto.serialize(message), sensitive=True)


def write_authorities(target: tls.CertificateValidationContext, secret: ir.Secret) -> None:
    target.trusted_ca.inline_bytes = secret.ca
    if secret.crl:
        target.crl.inline_bytes = secret.crl


def write_certificate(target: tls.TlsCertificate, secret: ir.Secret) -> None:
    target.certificate_chain.inline_bytes = secret.certificate
    target.private_key.inline_bytes = secret.private_key
