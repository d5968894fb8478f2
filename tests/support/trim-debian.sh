# Smaller copies; and the packages that tests install later, so that they need no network then.
in_root apt-get clean
rm -rf "$ROOT"/usr/share/doc/* "$ROOT"/usr/share/man/* "$ROOT"/usr/share/locale/* "$ROOT"/usr/share/info/*
in_root apt-get update
in_root apt-get install -y --download-only --no-install-recommends ca-certificates openssl
forget_lists
