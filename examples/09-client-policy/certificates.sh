#!/bin/sh
# Makes a certificate for the server; an authority for clients, three of their certificates (`acme`, `gone` who is
# revoked, `other` whose identity is not ours), and the list of revoked ones. For trying out only.
set -eu
cd "$(dirname "$0")"
new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 "$@" 2>/dev/null; }
new -x509 -subj /CN=shop.example -addext subjectAltName=DNS:shop.example,DNS:partners.example \
    -keyout server.key -out server.crt
new -x509 -subj /CN=partners -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign,cRLSign \
    -keyout ca.key -out ca.crt
work=$(mktemp -d)
client() {
    new -subj "/CN=$1" -keyout "$1.key" -out "$work/$1.csr"
    printf 'subjectAltName=URI:%s\n' "$2" > "$work/$1.ext"
    openssl x509 -req -in "$work/$1.csr" -CA ca.crt -CAkey ca.key -set_serial "$3" -days 30 -extfile "$work/$1.ext" \
        -out "$1.crt" 2>/dev/null
}
client acme spiffe://shop.example/partner/acme 1
client gone spiffe://shop.example/partner/gone 2
client other spiffe://elsewhere.example/other 3
touch "$work/index.txt"
echo 01 > "$work/number"
cat > "$work/ca.cnf" <<END
[ca]
default_ca = ours
[ours]
database = $work/index.txt
crlnumber = $work/number
default_md = sha256
default_crl_days = 30
END
openssl ca -config "$work/ca.cnf" -cert ca.crt -keyfile ca.key -revoke gone.crt 2>/dev/null
openssl ca -config "$work/ca.cnf" -cert ca.crt -keyfile ca.key -gencrl -out ca.crl 2>/dev/null
rm -r "$work"
{
    printf '%s\n' 'apiVersion: v1' 'kind: ConfigMap' 'metadata: {name: partners, namespace: clients}' 'data:' '  ca.crt: |'
    sed 's/^/    /' ca.crt
    printf '%s\n' '  ca.crl: |'
    sed 's/^/    /' ca.crl
    printf '%s\n' '---' 'apiVersion: v1' 'kind: Secret' 'metadata: {name: server, namespace: clients}'
    printf '%s\n' 'type: kubernetes.io/tls' 'stringData:' '  tls.crt: |'
    sed 's/^/    /' server.crt
    printf '%s\n' '  tls.key: |'
    sed 's/^/    /' server.key
} > secrets.new
mv secrets.new secrets.yaml # at once: nobody reads half of it
rm server.key ca.key ca.crl
