#!/bin/sh
# Makes a self-signed certificate for each host and writes them as Secrets to secrets.yaml, which Dragoman reads.
# Run it again to renew them: Envoy gets the new ones by SDS, connections stay. Nothing of this is for production.
set -eu
cd "$(dirname "$0")"
for host in shop bank; do
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj "/CN=$host.example" \
        -addext "subjectAltName=DNS:$host.example" -keyout "$host.key" -out "$host.crt" 2>/dev/null
    printf '%s\n' '---' 'apiVersion: v1' 'kind: Secret' "metadata: {name: $host, namespace: secure}"
    printf '%s\n' 'type: kubernetes.io/tls' 'stringData:' '  tls.crt: |'
    sed 's/^/    /' "$host.crt"
    printf '%s\n' '  tls.key: |'
    sed 's/^/    /' "$host.key"
    rm "$host.key"
done > secrets.new
mv secrets.new secrets.yaml # at once: nobody reads half of it
