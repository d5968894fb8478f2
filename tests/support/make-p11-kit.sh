# Debian with p11-kit, laid out as another family: the module reads that family's directories, the vendor's roots are in
# one .p11-kit file, and $TOOL runs the family's extractions. Needs FAMILY, ADMIN, VENDOR (tokens), VENDOR_FILE, TOOL and
# `tool` (prints the program), `links` (makes the family's links, in $ROOT).
cp -a "$FROM/." "$ROOT"
in_root apt-get update
in_root apt-get install -y --no-install-recommends p11-kit p11-kit-modules
in_root apt-get clean
forget_lists

# Debian's store goes, its roots stay for the vendor file.
mv "$ROOT/usr/share/ca-certificates/mozilla" "$ROOT/root/mozilla"
in_root dpkg --purge --force-depends ca-certificates
rm -rf "$ROOT/etc/ssl/certs" "$ROOT/etc/ca-certificates" "$ROOT/etc/ca-certificates.conf" \
    "$ROOT/usr/share/ca-certificates" "$ROOT/usr/local/share/ca-certificates" "$ROOT/usr/sbin/update-ca-certificates"
printf 'NAME=%s\nID=%s\n' "$FAMILY" "$FAMILY" > "$ROOT/usr/lib/os-release"

sed -i "s#^x-init-reserved:.*#x-init-reserved: paths='$ADMIN:$VENDOR'#" \
    "$ROOT/usr/share/p11-kit/modules/p11-kit-trust.module"
mkdir -p "$ROOT$ADMIN/anchors" "$ROOT$ADMIN/blocklist" "$ROOT$VENDOR/anchors" "$ROOT$VENDOR/blocklist"

# Trust for one purpose is an extended key usage stapled to the public key: a whole DER Extension, 2.5.29.37, with the
# purpose's OID below 1.3.6.1.5.5.7.3.
staple() {
    printf '[p11-kit-object-v1]\nclass: x-certificate-extension\nlabel: "purpose of %s"\nobject-id: 2.5.29.37\n' "$2"
    printf 'value: "%%30%%13%%06%%03%%55%%1d%%25%%04%%0c%%30%%0a%%06%%08%%2b%%06%%01%%05%%05%%07%%03%%%s"\n' "$1"
    in_root openssl x509 -in "/root/mozilla/$3" -noout -pubkey
    echo
}
vendor() {
    echo '# The roots of the vendor.'
    for path in "$ROOT"/root/mozilla/*.crt; do
        file=${path##*/}
        label=$(echo "${file%.crt}" | tr _ ' ')
        trust='trusted: true'
        [ "$file" != Certigna.crt ] || trust='x-distrusted: true'
        printf '\n[p11-kit-object-v1]\nlabel: "%s"\n%s\nnss-mozilla-ca-policy: true\nmodifiable: false\n' "$label" "$trust"
        cat "$path"
        echo
        case $file in
            ACCVRAIZ1.crt | Izenpe.com.crt) staple 04 "$label" "$file" ;;
            Actalis_Authentication_Root_CA.crt) staple 03 "$label" "$file" ;;
        esac
    done
}
vendor > "$ROOT$VENDOR/$VENDOR_FILE"
rm -r "$ROOT/root/mozilla"

tool > "$ROOT$TOOL"
chmod 755 "$ROOT$TOOL"
links
# The Java keystore has a date in it.
in_root env SOURCE_DATE_EPOCH=1700000000 "$TOOL"
# Unused purposes or roots that the module could not read would make every comparison weaker.
in_root trust list --filter=ca-anchors --purpose server-auth | grep -c 'type: certificate' > "$ROOT/root/count"
[ "$(cat "$ROOT/root/count")" -gt 120 ]
rm "$ROOT/root/count"
