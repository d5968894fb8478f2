//! Chooses among the chains that the CA offers for a certificate (RFC 8555 section 7.4.2). The caller decides which are
//! acceptable at all: a chain that its pins refuse is never chosen by its name.

use url::Url;

use super::Report;
use super::account::AcmeAccount;
use super::transport::{Success, Transport};
use crate::error::Error;
use crate::pki::cert::{Certificate, pem};
use crate::text;

/// No server sends more certificates in a chain (threat T24: the caller's limit is lower still).
const MAX_CHAIN: usize = 100;

/// No more alternates are requested; CAs have one or two.
const MAX_ALTERNATES: usize = 10;

/// Decides whether a chain may be used, or gives the reason in words that can follow a colon.
pub type Accept<'a> = dyn Fn(&[Certificate]) -> Result<(), String> + Sync + 'a;

/// The chain to use. The alternates are requested only if the CA's own choice is not wanted: `preferred` is the common
/// name of the root to which the chain should lead.
///
/// # Errors
/// Why the CA's own chain cannot be read.
pub(super) async fn choose(
    transport: &Transport,
    account: &AcmeAccount<'_>,
    sent: &Success,
    preferred: Option<&str>,
    accept: &Accept<'_>,
    report: &Report<'_>,
) -> Result<Vec<Certificate>, String> {
    let own = certificates(&sent.body)?;
    let is_good = accept(&own).is_ok();
    if is_good && preferred.is_none_or(|name| leads_to(&own, name)) {
        return Ok(own);
    }
    let mut chains = vec![own];
    for url in alternates(&sent.links, &sent.url).into_iter().take(MAX_ALTERNATES) {
        match alternate(transport, account, &url).await {
            // RFC 8555 section 7.4.2: for the same end-entity certificate.
            Ok(chain) if chain.first() == chains[0].first() => chains.push(chain),
            Ok(_) => report.warn("an alternate chain of the CA is for another certificate, and is ignored"),
            Err(error) => report.warn(&format!("an alternate chain of the CA cannot be used: {error}")),
        }
    }
    let good: Vec<usize> = (0..chains.len()).filter(|at| accept(&chains[*at]).is_ok()).collect();
    let named = |at: &usize| preferred.is_some_and(|name| leads_to(&chains[*at], name));
    let chosen = good.iter().copied().find(|at| named(at)).or_else(|| good.first().copied());
    if let Some(name) = preferred
        && !chosen.as_ref().is_some_and(named)
    {
        report.warn(&not_there(name, &chains));
    }
    // If none may be used, the caller reports why for the CA's own.
    let chosen = chosen.unwrap_or_default();
    if chosen > 0 {
        report.say(&format!("using the CA's alternate chain that leads to `{}`", top(&chains[chosen])));
    }
    Ok(chains.swap_remove(chosen))
}

/// Why the preferred chain is not used, with the available names.
fn not_there(name: &str, chains: &[Vec<Certificate>]) -> String {
    let mut names: Vec<String> = Vec::new();
    for chain in chains {
        let top = format!("`{}`", top(chain));
        if !names.contains(&top) {
            names.push(top);
        }
    }
    let names = names.join(", ");
    let is_there = chains.iter().any(|chain| leads_to(chain, name));
    let name = text::escape(name);
    if is_there {
        return format!(
            "the CA's chain to `{name}` is not used, because it does not end at a root that is trusted here; its chains lead to {names}"
        );
    }
    format!("the CA has no chain to `{name}` (`--preferred-chain`): its chains lead to {names}")
}

/// Whether the last certificate's issuer has this common name. If that is a root, it is its own issuer.
fn leads_to(chain: &[Certificate], name: &str) -> bool {
    chain.last().and_then(Certificate::issuer_common_name).as_deref() == Some(name)
}

/// The name of the last certificate's issuer, for people.
fn top(chain: &[Certificate]) -> String {
    let Some(last) = chain.last() else { return String::new() };
    last.issuer_common_name().map_or_else(|| last.issuer(), |name| text::escape(&name))
}

async fn alternate(
    transport: &Transport,
    account: &AcmeAccount<'_>,
    url: &str,
) -> Result<Vec<Certificate>, Error> {
    let answer = account
        .read(url)
        .await
        .map_err(|error| super::problem::explain(error, "send an alternate chain", transport))?;
    certificates(&answer.body).map_err(|what| transport.error(Error::failed(what)))
}

/// The targets of links with the relation `alternate` (RFC 8288), as URLs; `base` is what was asked for.
fn alternates(links: &[String], base: &Url) -> Vec<String> {
    let mut found = Vec::new();
    for value in links {
        let mut rest = value.as_str();
        while let Some((_, behind)) = rest.split_once('<') {
            let Some((target, parameters)) = behind.split_once('>') else { break };
            // A comma inside of quotes does not end the link.
            let mut quoted = false;
            let end = parameters.find(|c| {
                quoted ^= c == '"';
                c == ',' && !quoted
            });
            let (parameters, next) = parameters.split_at(end.unwrap_or(parameters.len()));
            rest = next;
            let is_alternate = parameters.split(';').any(|parameter| {
                let Some((name, value)) = parameter.split_once('=') else { return false };
                let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
                name.trim().eq_ignore_ascii_case("rel")
                    && relations.any(|relation| relation.eq_ignore_ascii_case("alternate"))
            });
            if is_alternate && let Ok(url) = base.join(target) {
                let url = url.to_string();
                if !found.contains(&url) {
                    found.push(url);
                }
            }
        }
    }
    found
}

/// The certificates of `application/pem-certificate-chain` (RFC 8555 section 9.1): strictly that, nothing skipped.
fn certificates(chain: &[u8]) -> Result<Vec<Certificate>, String> {
    let blocks = pem::blocks(chain);
    if blocks.is_empty() {
        return Err("the CA sent no certificate where the chain should be".to_owned());
    }
    if blocks.len() > MAX_CHAIN {
        return Err(format!("the CA sent a chain of {} certificates, more than {MAX_CHAIN}", blocks.len()));
    }
    let certificate = |(at, block): (usize, &pem::PemBlock)| {
        let damaged = |why: &str| format!("certificate {} of the chain that the CA sent {why}", at + 1);
        if block.label != "CERTIFICATE" {
            return Err(damaged("is not a certificate"));
        }
        let der = block.der.as_deref().ok_or_else(|| damaged("is not whole"))?;
        Certificate::from_der(der).map_err(|why| damaged(&format!("cannot be read: {why}")))
    };
    blocks.iter().enumerate().map(certificate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_however_they_are_written() {
        let base = Url::parse("https://ca.test/cert/1").expect("URL");
        for (links, wanted) in [
            (&["<https://ca.test/cert/1/2>;rel=\"alternate\""][..], &["https://ca.test/cert/1/2"][..]),
            (&["<https://ca.test/dir>;rel=\"index\"", "</a>; REL=alternate"], &["https://ca.test/a"]),
            (
                &[
                    "<2>; title=\"a,<b>;rel=alternate\"; rel=\"up alternate\", <3>;rel=up, <4> ; rel = ALTERNATE",
                ],
                &["https://ca.test/cert/2", "https://ca.test/cert/4"],
            ),
            (&["</a>;rel=alternate,</a>;rel=alternate"], &["https://ca.test/a"]),
            (
                &["", "<", "<>", "</a", "</a>;rel", "</a>;rel=alternates", ",,,", "</a>;title=\"alternate\""],
                &[],
            ),
        ] {
            let links: Vec<String> = links.iter().map(|link| (*link).to_owned()).collect();
            assert_eq!(alternates(&links, &base), wanted, "{links:?}");
        }
    }
}
