# Debian laid out as Photon: a PEM file for each of the vendor's roots, called by its subject hash and with openssl's text
# around it, hash links, and the concatenation. /usr/bin/rehash_ca_certificates.sh takes the same steps as Photon's.
cp -a "$FROM/." "$ROOT"
in_root apt-get update
in_root apt-get install -y --no-install-recommends curl
in_root apt-get clean
forget_lists

mv "$ROOT/usr/share/ca-certificates/mozilla" "$ROOT/root/mozilla"
in_root dpkg --purge --force-depends ca-certificates
rm -rf "$ROOT/etc/ssl/certs" "$ROOT/etc/ca-certificates" "$ROOT/etc/ca-certificates.conf" \
    "$ROOT/usr/share/ca-certificates" "$ROOT/usr/local/share/ca-certificates" "$ROOT/usr/sbin/update-ca-certificates"
printf 'NAME="VMware Photon OS"\nID=photon\nVERSION_ID=5.0\n' > "$ROOT/usr/lib/os-release"
printf '127.0.0.1 localhost\n' > "$ROOT/etc/hosts"

mkdir -p "$ROOT/etc/ssl/certs" "$ROOT/etc/pki/tls/certs"
# Two roots with one subject share a file, as with the package itself.
in_root sh -eu -c 'for root in /root/mozilla/*.crt; do
    hash=$(openssl x509 -noout -subject_hash -in "$root")
    { openssl x509 -text -fingerprint -in "$root"; printf "\n\n"; } > "/etc/ssl/certs/$hash.pem"
done'
rm -r "$ROOT/root/mozilla"
cat > "$ROOT/usr/bin/rehash_ca_certificates.sh" <<'TOOL'
#!/bin/bash
set -e
certs=/etc/ssl/certs
openssl rehash "$certs" || echo "openssl rehash failed"
find -L "$certs/" -type l -delete
cat "$certs"/*.pem > /etc/pki/tls/certs/ca-bundle.crt
TOOL
chmod 755 "$ROOT/usr/bin/rehash_ca_certificates.sh"
in_root rehash_ca_certificates.sh
[ "$(grep -c BEGIN "$ROOT/etc/pki/tls/certs/ca-bundle.crt")" -gt 120 ]
