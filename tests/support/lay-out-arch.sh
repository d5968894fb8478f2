# Arch: what `make-p11-kit.sh` needs.
FAMILY=arch
ADMIN=/etc/ca-certificates/trust-source
VENDOR=/usr/share/ca-certificates/trust-source
VENDOR_FILE=mozilla.trust.p11-kit
TOOL=/usr/bin/update-ca-trust
links() {
    mkdir -p "$ROOT/etc/ca-certificates/extracted/cadir" "$ROOT/etc/ssl/certs/java"
    ln -s ../ca-certificates/extracted/tls-ca-bundle.pem "$ROOT/etc/ssl/cert.pem"
    ln -s ../../ca-certificates/extracted/tls-ca-bundle.pem "$ROOT/etc/ssl/certs/ca-certificates.crt"
    ln -s ../../ca-certificates/extracted/tls-ca-bundle.pem "$ROOT/etc/ssl/certs/ca-bundle.crt"
    ln -s ../../../ca-certificates/extracted/java-cacerts.jks "$ROOT/etc/ssl/certs/java/cacerts"
}
tool() {
    cat <<'TOOL'
#!/bin/sh
set -eu
export P11_KIT_NO_USER_CONFIG=1
to=/etc/ca-certificates/extracted
get() { trust extract --overwrite "$@"; }
get --format=pem-bundle --filter=ca-anchors --comment --purpose server-auth $to/tls-ca-bundle.pem
get --format=pem-bundle --filter=ca-anchors --comment --purpose email $to/email-ca-bundle.pem
get --format=pem-bundle --filter=ca-anchors --comment --purpose code-signing $to/objsign-ca-bundle.pem
get --format=openssl-bundle --filter=certificates --comment $to/ca-bundle.trust.crt
get --format=edk2-cacerts --filter=ca-anchors --purpose server-auth $to/edk2-cacerts.bin
get --format=java-cacerts --filter=ca-anchors --purpose server-auth $to/java-cacerts.jks
get --format=pem-directory-hash --filter=ca-anchors --purpose server-auth $to/cadir
for entry in $to/cadir/*; do ln -srf "$entry" /etc/ssl/certs/; done
find /etc/ssl/certs -maxdepth 1 -xtype l -delete
TOOL
}
