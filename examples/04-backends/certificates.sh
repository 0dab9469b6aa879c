#!/bin/sh
# Makes a self-signed certificate for the TLS service: a Secret to serve it, a ConfigMap to trust it. For trying out only.
set -eu
cd "$(dirname "$0")"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj "/CN=pay.example" \
    -addext "subjectAltName=DNS:pay.example" -keyout pay.key -out pay.crt 2>/dev/null
{
    printf '%s\n' 'apiVersion: v1' 'kind: ConfigMap' 'metadata: {name: pay-ca, namespace: backends}' 'data:' '  ca.crt: |'
    sed 's/^/    /' pay.crt
    printf '%s\n' '---' 'apiVersion: v1' 'kind: Secret' 'metadata: {name: pay, namespace: backends}'
    printf '%s\n' 'type: kubernetes.io/tls' 'stringData:' '  tls.crt: |'
    sed 's/^/    /' pay.crt
    printf '%s\n' '  tls.key: |'
    sed 's/^/    /' pay.key
} > secrets.new
mv secrets.new secrets.yaml
rm pay.crt pay.key
