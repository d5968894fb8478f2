# What the recipes of root file systems share.

# The Debian mirror of this machine's own apt configuration: the first one that has one of the given suites.
mirror() {
    # Lines such as 'http://HOST/debian/dists/SUITE/InRelease' NAME 0
    uris=$(apt-get update --print-uris | cut -d"'" -f2)
    for suite; do
        for uri in $uris; do
            case $uri in */dists/"$suite"/*) echo "${uri%%/dists/*}"; return ;; esac
        done
    done
    echo "no Debian mirror with one of: $* in apt's configuration" >&2
    return 1
}

# A command in $ROOT, with nothing of this machine's environment but a proxy that apt uses.
proxy=$(apt-config shell proxy Acquire::http::Proxy)
eval "$proxy"
[ -z "$proxy" ] || export http_proxy="$proxy"
in_root() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C \
        ${http_proxy:+"http_proxy=$http_proxy"} chroot "$ROOT" "$@"
}

# apt's lists, and what it computes from them: three quarters of a small root.
forget_lists() {
    rm -rf "$ROOT"/var/lib/apt/lists/* "$ROOT"/var/cache/apt/*.bin
}
