# Fedora 41 and later, RHEL 10: what `make-p11-kit.sh` needs.
FAMILY=fedora
ADMIN=/etc/pki/ca-trust/source
VENDOR=/usr/share/pki/ca-trust-source
VENDOR_FILE=ca-bundle.trust.p11-kit
TOOL=/usr/bin/update-ca-trust
links() {
    extracted=/etc/pki/ca-trust/extracted
    mkdir -p "$ROOT/etc/pki/java" "$ROOT/etc/pki/tls/certs" "$ROOT$extracted/pem/directory-hash" \
        "$ROOT$extracted/openssl" "$ROOT$extracted/java" "$ROOT$extracted/edk2"
    ln -s "$extracted/pem/tls-ca-bundle.pem" "$ROOT/etc/pki/tls/cert.pem"
    ln -s "$extracted/pem/tls-ca-bundle.pem" "$ROOT/etc/pki/tls/certs/ca-bundle.crt"
    ln -s "$extracted/pem/tls-ca-bundle.pem" "$ROOT/etc/pki/tls/certs/ca-certificates.crt"
    ln -s "$extracted/openssl/ca-bundle.trust.crt" "$ROOT/etc/pki/tls/certs/ca-bundle.trust.crt"
    ln -s "$extracted/java/cacerts" "$ROOT/etc/pki/java/cacerts"
    ln -s "$extracted/pem/tls-ca-bundle.pem" "$ROOT/etc/ssl/cert.pem"
    ln -s /etc/pki/tls/certs "$ROOT/etc/ssl/certs"
}
tool() {
    cat <<'TOOL'
#!/bin/sh
set -eu
export P11_KIT_NO_USER_CONFIG=1
to=/etc/pki/ca-trust/extracted
tls=/etc/pki/tls/certs
get() { trust extract --overwrite "$@"; }
get --format=openssl-bundle --filter=certificates --comment $to/openssl/ca-bundle.trust.crt
get --format=pem-bundle --filter=ca-anchors --comment --purpose server-auth $to/pem/tls-ca-bundle.pem
get --format=pem-bundle --filter=ca-anchors --comment --purpose email $to/pem/email-ca-bundle.pem
get --format=pem-bundle --filter=ca-anchors --comment --purpose code-signing $to/pem/objsign-ca-bundle.pem
get --format=java-cacerts --filter=ca-anchors --purpose server-auth $to/java/cacerts
get --format=edk2-cacerts --filter=ca-anchors --purpose server-auth $to/edk2/cacerts.bin
get --format=pem-directory-hash --filter=ca-anchors --purpose server-auth $to/pem/directory-hash
find $tls -type l -regextype posix-extended -regex '.*/[0-9a-f]{8}\.[0-9]+' -delete
find $to/pem/directory-hash -type l -regextype posix-extended -regex '.*/[0-9a-f]{8}\.[0-9]+' |
    while read -r link; do ln -s "$(readlink -f "$link")" "$tls/${link##*/}"; done
TOOL
}
