//! step-ca's answers: JSON of its own, errors of three shapes, and whatever a proxy in front of it sends.

use serde::Deserialize;
use url::Url;

use crate::error::{Error, ErrorKind, Result};
use crate::net::FetchAnswer;
use crate::net::url::{authority, masked};
use crate::pki::cert::{Certificate, input};
use crate::text;

/// No chain has more certificates (threat T24).
const MAX_CHAIN: usize = 10;

/// Parses the JSON of a success.
pub(super) fn parse<T: for<'de> Deserialize<'de>>(answer: &FetchAnswer) -> Result<T> {
    serde_json::from_slice(&answer.body)
        .map_err(|_| not_a_step_ca("it is not the JSON that a step-ca sends", &answer.url))
}

/// An error for an unsuccessful answer: 200 and 201 are successes, whatever the documentation of the endpoint says.
pub(super) fn check(answer: &FetchAnswer) -> Result<()> {
    let (kind, what, hint) = match answer.status {
        200 | 201 => return Ok(()),
        400 => (
            ErrorKind::Usage,
            "did not understand the request",
            answer
                .url
                .path()
                .ends_with("/sign")
                .then_some("it was asked for names, a key type and `--not-after`; its log says more"),
        ),
        401 => (ErrorKind::NotTrusted, "refused", None),
        403 => (
            ErrorKind::NotTrusted,
            "does not allow this",
            Some(
                "the provisioner's limits (names, lifetime) and the token's names say what it allows; its log says more",
            ),
        ),
        404 => (
            ErrorKind::Failed,
            "does not have the requested object",
            Some("is this the address of a step-ca?"),
        ),
        429 => (ErrorKind::Unreachable, "has too much to do", Some("try again later")),
        501 => (ErrorKind::Unsupported, "cannot do this", Some("its version or its configuration lacks it")),
        502..=504 => {
            (ErrorKind::Unreachable, "is not up", Some("is it starting? then try again in a moment"))
        }
        500..=599 => {
            (ErrorKind::Unreachable, "failed", Some("its log says why; it may work when tried again"))
        }
        300..=399 => (
            ErrorKind::Usage,
            "sends us elsewhere",
            Some("a step-ca never redirects: give its own address, not that of a proxy in front of it"),
        ),
        _ => (
            ErrorKind::Failed,
            "sent an answer that a step-ca does not send",
            Some("is this the address of a step-ca?"),
        ),
    };
    let error =
        Error::new(kind, format!("the CA {what} (HTTP status {})", answer.status)).at(masked(&answer.url));
    let error = match message(&answer.body) {
        Some(message) => error.because(anyhow::anyhow!("the CA says: {}", text::escape(&message))),
        // 404 of an unknown path, or a page of a proxy: its text adds nothing to the status.
        None if !answer.body.is_empty() => {
            error.because(anyhow::anyhow!("its answer is not a step-ca message"))
        }
        None => error,
    };
    Err(match hint {
        Some(hint) => error.hint(hint),
        None => error,
    })
}

/// The CA's own message: `{"status":…,"message":…}`, and ACME's problems (RFC 7807) where it mixes them up.
fn message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Message {
        message: Option<String>,
        detail: Option<String>,
    }
    let parsed: Message = serde_json::from_slice(body).ok()?;
    parsed.message.or(parsed.detail).filter(|text| !text.trim().is_empty())
}

/// The answer to `/sign` and similar. PEM in JSON; members may be missing, null or empty.
#[derive(Deserialize)]
pub(super) struct SignAnswer {
    crt: Option<String>,
    ca: Option<String>,
    #[serde(rename = "certChain")]
    chain: Option<Vec<Option<String>>>,
}

impl SignAnswer {
    /// The chain, leaf first; very old servers have no `certChain`.
    pub(super) fn chain(self, url: &Url) -> Result<Vec<Certificate>> {
        let chain: Vec<String> = self.chain.unwrap_or_default().into_iter().flatten().collect();
        let chain =
            if chain.is_empty() { [self.crt, self.ca].into_iter().flatten().collect() } else { chain };
        let mut certificates = Vec::new();
        for pem in chain.iter().filter(|pem| !pem.trim().is_empty()) {
            certificates.extend(certificates_of(pem, url)?);
            if certificates.len() > MAX_CHAIN {
                return Err(Error::not_trusted(format!(
                    "the CA sent a chain of more than {MAX_CHAIN} certificates"
                ))
                .at(masked(url))
                .hint("check the intermediates in the CA's configuration"));
            }
        }
        if certificates.is_empty() {
            return Err(not_a_step_ca("its answer holds no certificate", url));
        }
        Ok(certificates)
    }
}

/// All certificates of a PEM text; anything else in it is an error.
pub(super) fn certificates_of(pem: &str, url: &Url) -> Result<Vec<Certificate>> {
    let damaged = || {
        Error::failed("the CA sent a certificate that cannot be read")
            .at(masked(url))
            .hint("is this the address of a step-ca, and not a proxy that changes its answers?")
    };
    let file = input::read(pem.as_bytes(), &masked(url)).map_err(|error| damaged().because(error))?;
    match file.problems.first() {
        Some(problem) => Err(damaged().because(anyhow::anyhow!("{}", problem.what))),
        None => Ok(file.certificates),
    }
}

pub(super) fn not_a_step_ca(why: &str, url: &Url) -> Error {
    Error::failed(format!("`{}` does not answer as a step-ca does: {why}", authority(url)))
        .at(masked(url))
        .hint("is this the address of a step-ca, and not a proxy that answers in its place?")
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;
    use crate::pki::cert::testing::{TestCertificate, Xorshift};

    fn answer(status: u16, body: &str) -> FetchAnswer {
        let url = Url::parse("https://ca.test/1.0/sign").expect("a URL");
        FetchAnswer { url, status, headers: HeaderMap::new(), body: body.as_bytes().to_vec(), server: None }
    }

    #[test]
    fn every_status_has_its_exit_code_and_the_cas_words_are_escaped() {
        for (status, code) in [
            (302, 2),
            (400, 2),
            (401, 4),
            (403, 4),
            (404, 1),
            (418, 1),
            (429, 6),
            (500, 6),
            (501, 5),
            (502, 6),
            (503, 6),
        ] {
            let body = format!("{{\"status\":{status},\"message\":\"no\\u001b[31m \\u202eway\"}}");
            let error = check(&answer(status, &body)).expect_err("no success");
            assert_eq!(error.kind().exit_code(), code, "{status}: {error}");
            assert!(error.causes()[0].contains(r"no\u{1b}[31m \u{202e}way"), "{error}");
            let error = check(&answer(status, "<html>no</html>")).expect_err("no success");
            assert!(error.causes()[0].contains("not a step-ca message"), "{error}");
            assert!(check(&answer(status, "")).expect_err("no success").causes().is_empty());
        }
        let problem = r#"{"type":"unauthorized","detail":"the detail"}"#;
        assert!(check(&answer(401, problem)).expect_err("refused").causes()[0].contains("the detail"));
        assert!(check(&answer(201, "")).is_ok());
    }

    #[test]
    fn chains_as_new_and_old_servers_send_them() {
        let url = Url::parse("https://ca.test/").expect("a URL");
        let leaf = crate::pki::cert::pem::encode(&TestCertificate::default().der());
        let issuer = crate::pki::cert::pem::encode(
            &TestCertificate { not_after: "410101000000Z", ..TestCertificate::default() }.der(),
        );
        let chain = |json: serde_json::Value| {
            let parsed: SignAnswer = parse(&answer(201, &json.to_string()))?;
            parsed.chain(&url)
        };
        for json in [
            serde_json::json!({"crt": leaf, "ca": issuer, "certChain": [leaf, issuer]}),
            serde_json::json!({"crt": leaf, "ca": issuer, "certChain": []}),
            serde_json::json!({"crt": leaf, "ca": issuer, "certChain": null}),
            serde_json::json!({"crt": leaf, "ca": issuer}),
            serde_json::json!({"certChain": [format!("{leaf}{issuer}"), null, ""]}),
        ] {
            let found = chain(json).expect("a chain");
            assert_eq!(
                found.iter().map(Certificate::to_pem).collect::<Vec<_>>(),
                [leaf.clone(), issuer.clone()]
            );
        }
        let half = &leaf[..leaf.len() / 2];
        for json in [
            serde_json::json!({}),
            serde_json::json!([]),
            serde_json::json!({"crt": "", "ca": null, "certChain": [""]}),
            serde_json::json!({"certChain": [half]}),
            serde_json::json!({"certChain": [leaf, "x"]}),
            serde_json::json!({"certChain": 5}),
            serde_json::json!({"crt": crate::pki::cert::pem::armor("PRIVATE KEY", b"x")}),
        ] {
            assert!(chain(json.clone()).is_err(), "{json}");
        }
        let many: Vec<String> = (0..=MAX_CHAIN)
            .map(|number| {
                let name = crate::pki::cert::testing::common_name(&number.to_string());
                crate::pki::cert::pem::encode(&TestCertificate::named(name).der())
            })
            .collect();
        assert!(chain(serde_json::json!({ "certChain": many })).is_err());
        let mut random = Xorshift(0x5eed_0130);
        let text = serde_json::json!({"crt": leaf, "ca": issuer, "certChain": [leaf, issuer]}).to_string();
        for _ in 0..500 {
            let changed = random.mutate(text.as_bytes());
            if let Ok(parsed) = serde_json::from_slice::<SignAnswer>(&changed) {
                let _ = parsed.chain(&url);
            }
        }
    }
}
