//! Whether a file may be replaced by certificates: whether it contains anything else.

use super::{Certificate, pem, private_key};

/// Labels of blocks that hold a certificate.
const LABELS: [&str; 3] = ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"];

/// Whether `content` is empty, or PEM of readable certificates, surrounded only by empty lines and comments (`#`, as in
/// the bundles of distributions). A private key, a certificate signing request or other text is something else (threat
/// T37).
pub(crate) fn holds_only_certificates(content: &[u8]) -> bool {
    if content.iter().all(u8::is_ascii_whitespace) {
        return true;
    }
    if private_key::find(content).is_some() {
        return false;
    }
    let is_comment = |text: &[u8]| {
        let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        lines.all(|line| line.is_empty() || line.starts_with(b"#"))
    };
    let blocks = pem::blocks(content);
    let mut from = 0;
    for block in &blocks {
        let is_certificate =
            LABELS.contains(&block.label.as_str()) && Certificate::from_block(block).is_some();
        if !is_certificate || !is_comment(&content[from..block.range.start]) {
            return false;
        }
        from = block.range.end;
    }
    !blocks.is_empty() && is_comment(&content[from..])
}

#[cfg(test)]
mod tests {
    use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

    use super::*;

    #[test]
    fn t37_only_certificates_and_comments_count() {
        let root = pem::encode(&TLS_SERVER_ROOT_CERTS[0]);
        let other = pem::encode(&TLS_SERVER_ROOT_CERTS[1]);
        let key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAAA\n-----END PRIVATE KEY-----\n";
        for good in [
            String::new(),
            "\n \n".to_owned(),
            root.clone(),
            format!("{root}{other}"),
            format!("# CN=A\n{root}\n# CN=B\n{other}\n\n"),
        ] {
            assert!(holds_only_certificates(good.as_bytes()), "{good}");
        }
        let request = root.replace("CERTIFICATE", "CERTIFICATE REQUEST");
        let cut = &root[..root.len() - 10];
        for bad in [
            key.to_owned(),
            format!("{root}{key}"),
            format!("{key}{root}"),
            format!("{root}# a comment\nuser = root\n"),
            format!("password\n{root}"),
            request,
            cut.to_owned(),
            format!("{root}{cut}"),
            "text".to_owned(),
            root.replace("MII", "!!!"),
            key.replace("-----BEGIN", "----BEGIN") + &root,
        ] {
            assert!(!holds_only_certificates(bad.as_bytes()), "{bad}");
        }
        assert!(!holds_only_certificates(&TLS_SERVER_ROOT_CERTS[0]) && !holds_only_certificates(b"\0"));
    }
}
