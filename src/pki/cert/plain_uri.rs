//! Host names and URIs in certificates in a form that every parser accepts: Java's `java.net.URI` and Go's `net/url`
//! both refuse a certificate for one that they cannot parse, each by its own rules.

/// Letters, digits and hyphens in labels separated by dots; a leading dot is allowed.
pub(super) fn is_plain_domain(text: &[u8]) -> bool {
    let bare = text.strip_prefix(b".").unwrap_or(text);
    let is_label = |label: &[u8]| {
        label.first().is_some_and(u8::is_ascii_alphanumeric)
            && label.last().is_some_and(u8::is_ascii_alphanumeric)
            && label.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'-')
    };
    text.len() < 250 && bare.split(|c| *c == b'.').all(is_label)
}

/// A scheme, a host with a port or none, and a path of characters that every parser takes (RFC 3986 appendix A).
pub(super) fn is_plain_uri(text: &[u8]) -> bool {
    let Some(colon) = text.iter().position(|c| *c == b':') else { return false };
    let (scheme, rest) = (&text[..colon], &text[colon + 1..]);
    let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|c| c.is_ascii_alphanumeric() || b"+.-".contains(c));
    let (host, path) = match rest.strip_prefix(b"//") {
        None => (&b""[..], rest),
        Some(rest) => {
            let end = rest.iter().position(|c| b"/?#".contains(c)).unwrap_or(rest.len());
            rest.split_at(end)
        }
    };
    let (name, port) = match host.iter().position(|c| *c == b':') {
        Some(at) => (&host[..at], &host[at + 1..]),
        None => (host, &b"1"[..]),
    };
    let is_port = (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit);
    // Java interprets a name whose last label begins with a digit as an address.
    let is_host = is_plain_domain(name) && !name.starts_with(b".");
    let has_name =
        host.is_empty() && rest.starts_with(b"///") || host.is_empty() && !rest.starts_with(b"//") || is_host;
    let mut at = 0;
    let mut fragments = 0;
    while at < path.len() {
        match path[at] {
            b'%' => {
                let digits = path.get(at + 1..at + 3);
                if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return false;
                }
            }
            b'#' => fragments += 1,
            c if c.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(&c) => {}
            _ => return false,
        }
        at += 1;
    }
    is_scheme && is_port && has_name && fragments <= 1 && !path.is_empty() | !host.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_uris_count() {
        for good in [
            &b"http://example.com"[..],
            b"http://example.com:80/a/b?c=d%20#e",
            b"ldap:///CN=x,DC=y?certificateRevocationList?base",
            b"urn:uuid:1234",
            b"spiffe://example.org/x",
        ] {
            assert!(is_plain_uri(good), "{}", String::from_utf8_lossy(good));
        }
        for bad in [
            &b""[..],
            b"example.com",
            b"//example.com",
            b"http://",
            b"http:",
            b"http://a b/",
            b"http://a/%zz",
            b"http://a:b/",
            b"http://[::1]/",
            b"http://u@a/",
            b"http://\xfc/",
            b"file://\\\\a\\b",
            b"1a://x",
            b"a:/#b#c",
        ] {
            assert!(!is_plain_uri(bad), "{}", String::from_utf8_lossy(bad));
        }
    }
}
