# openSUSE and SLE: what `make-p11-kit.sh` needs. The program runs the hooks, each of which extracts one output, with the
# modes that a umask of 0222 leaves.
FAMILY=opensuse-leap
ADMIN=/etc/pki/trust
VENDOR=/usr/share/pki/trust
VENDOR_FILE=ca-certificates-mozilla.trust.p11-kit
TOOL=/usr/sbin/update-ca-certificates
links() {
    hook java 50 <<'HOOK'
trust extract --overwrite --format=java-cacerts --filter=ca-anchors --purpose server-auth "$to/java-cacerts.new"
mv "$to/java-cacerts.new" "$to/java-cacerts"
HOOK
    hook openssl 70 <<'HOOK'
mkdir -p "$to/openssl"
trust extract --overwrite --format=openssl-directory --filter=ca-anchors "$to/openssl"
HOOK
    hook etc_ssl 80 <<'HOOK'
mkdir -p "$to/pem"
trust extract --overwrite --format=pem-directory-hash --filter=ca-anchors --purpose server-auth "$to/pem"
if [ "$(readlink /etc/ssl/certs)" != ../../var/lib/ca-certificates/pem ]; then
    [ ! -e /etc/ssl/certs ] || mv -T --backup=numbered /etc/ssl/certs /etc/ssl/certs.old
    ln -s ../../var/lib/ca-certificates/pem /etc/ssl/certs
fi
HOOK
    hook certbundle 99 <<'HOOK'
if [ "$#" -eq 0 ] && [ "$(stat -c %Y "$to/ca-bundle.pem")" -gt "$(stat -c %Y "$to/pem")" ]; then exit 0; fi
trust extract --overwrite --format=pem-bundle --filter=ca-anchors --purpose server-auth "$to/ca-bundle.pem.tmp"
{
    printf '#\n# Made by %s.\n#\n' "$0"
    for line in 4 5 6 7 8 9 10 11; do echo "# header, line $line"; done
    cat "$to/ca-bundle.pem.tmp"
} > "$to/ca-bundle.pem.new"
rm -f "$to/ca-bundle.pem.tmp"
mv -f "$to/ca-bundle.pem.new" "$to/ca-bundle.pem"
[ -L /etc/ssl/ca-bundle.pem ] || ln -s ../../var/lib/ca-certificates/ca-bundle.pem /etc/ssl/ca-bundle.pem
HOOK
    # The first run makes the links; whether a bundle is there decides nothing then.
    mkdir -p "$ROOT/var/lib/ca-certificates"
    : > "$ROOT/var/lib/ca-certificates/ca-bundle.pem"
}
hook() {
    file=$ROOT/usr/lib/ca-certificates/update.d/$2$1.run
    mkdir -p "${file%/*}"
    { printf '#!/bin/sh\nset -eu\nto=$statedir\n'; cat; } > "$file"
    chmod 755 "$file"
}
tool() {
    cat <<'TOOL'
#!/bin/sh
set -eu
export P11_KIT_NO_USER_CONFIG=1 statedir=/var/lib/ca-certificates
fresh=
for option; do
    case $option in
        -f | --fresh) fresh=-f ;;
        -v | --verbose) ;;
        *) echo "invalid option: $option" >&2; exit 1 ;;
    esac
done
umask 0222
[ -d $statedir ] || mkdir -m 0755 $statedir
for run in /usr/lib/ca-certificates/update.d/*.run; do "$run" $fresh; done
chmod 0555 $statedir
TOOL
}
