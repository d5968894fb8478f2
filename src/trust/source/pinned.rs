//! Certificates that a fingerprint names: from a step-ca, or from any address. They are fetched without trusting any
//! server, held in memory, hashed and compared; what does not match is dropped.

use serde::Deserialize;
use url::Url;

use super::collect::{COMPARE_HINT, CertificateOrigin, mismatch};
use super::{Acquisition, Source, SourceReport};
use crate::error::{Error, ErrorKind, Result};
use crate::net::url::{authority, masked};
use crate::net::{FetchAnswer, Net, Trust};
use crate::pki::cert::Certificate;
use crate::pki::cert::input;
use crate::pki::fingerprint::Fingerprint;
use crate::trust::source::given;

/// `GET /root/{sha256}`.
#[derive(Deserialize)]
struct RootAnswer {
    ca: String,
}

/// `GET /roots`.
#[derive(Deserialize)]
struct RootsAnswer {
    crts: Vec<String>,
}

/// A step-ca: each pin at `/root/{pin}`; then, if asked for, `/roots` over TLS that those roots verify.
pub(super) async fn step_ca(run: &mut Acquisition<'_>, index: usize, all_roots: bool) -> Result<()> {
    let base = run.url(index)?;
    let id = run.source(index).id()?;
    let pins = run.request.pins_for(run.source(index));
    let origin = CertificateOrigin { id: &id, file: None, many: false };
    let mut report = SourceReport {
        id: id.clone(),
        former_id: run.source(index).former_id(),
        replaces: false,
        contacted: false,
        fresh: true,
        by_pin: true,
        vouched_by: Some("the pinned fingerprint".to_owned()),
        proxy: None,
        cached: false,
        fingerprints: Vec::new(),
    };
    for pin in pins {
        match local(run, &id, pin) {
            Local::Here(certificate) => {
                run.collected.take(&origin, certificate.clone(), pins, false)?;
            }
            Local::Elsewhere => {}
            Local::Unknown if run.collected.has_met(pin) => {}
            Local::Unknown => {
                if let Some(certificate) = run.cached_root(pin) {
                    report.cached = true;
                    run.collected.take(&origin, certificate, pins, false)?;
                    continue;
                }
                let net = run.net()?;
                run.warn_of_password(&base);
                contacted(&mut report, &net, &base);
                match root(&net, &base, *pin).await? {
                    Ok(certificate) => {
                        run.collected.take(&origin, certificate, pins, false)?;
                    }
                    Err(unknown) => run.collected.missed(*pin, unknown),
                }
            }
        }
    }
    if all_roots {
        // From any source: a file may have met the pin.
        let pinned = run.collected.pinned().map(|anchor| &anchor.certificate);
        let own = pinned.filter(|certificate| pins.contains(&certificate.fingerprint())).cloned().collect();
        other_roots(run, index, &base, &origin, own, &mut report).await?;
    }
    run.collected.report(index, report);
    Ok(())
}

/// `/root/{pin}`. The inner error: the CA does not know such a root, another source may.
async fn root(net: &Net, base: &Url, pin: Fingerprint) -> Result<Result<Certificate, Error>> {
    let url = at(base, &format!("/root/{pin}"))?;
    let answer = net.get(&url, &Trust::Unverified).await?;
    if answer.status == 404 {
        return Ok(Err(Error::not_trusted(format!("the CA does not know a root with the fingerprint {pin}"))
            .at(masked(base))
            .hint(COMPARE_HINT)
            .hint("is this the address of a step-ca? A certificate at any other address is fetched with `--root-url`")));
    }
    let ca = parse::<RootAnswer>(answer)?.ca;
    let file = input::read(ca.as_bytes(), &masked(&url))?;
    match (<[Certificate; 1]>::try_from(file.certificates), file.problems.is_empty()) {
        (Ok([certificate]), true) if certificate.fingerprint() == pin => Ok(Ok(certificate)),
        (Ok([certificate]), true) => {
            Err(mismatch(pin, &[(certificate.subject(), certificate.fingerprint())]).at(masked(base)))
        }
        _ => Err(not_a_step_ca("its answer must hold exactly one certificate", &url)),
    }
}

/// `/roots`, verified by `own` and by what the CA gave earlier, if that is still on this system. That earlier answer
/// counts without a request, or if the CA cannot be reached.
async fn other_roots(
    run: &mut Acquisition<'_>,
    index: usize,
    base: &Url,
    origin: &CertificateOrigin<'_>,
    own: Vec<Certificate>,
    report: &mut SourceReport,
) -> Result<()> {
    let earlier = if run.request.require_fresh { Vec::new() } else { earlier_answer(run, index, origin.id) };
    if !report.contacted && !run.request.ask_again && !earlier.is_empty() {
        return take_earlier(run, origin, earlier);
    }
    if own.is_empty() {
        // No pin was met; the final check reports which.
        return Ok(());
    }
    let subjects: Vec<String> = own.iter().map(|root| format!("`{}`", root.subject())).collect();
    let mut vouched_by = format!("the pinned root {}", subjects.join(", "));
    let mut roots: Vec<_> = own.iter().map(|root| root.der().to_vec().into()).collect();
    // The CA may have moved to a root that it announced in time: the pinned root vouched for that announcement.
    let announced: Vec<_> = earlier.iter().filter(|root| !own.contains(root)).collect();
    if run.request.ask_again && !announced.is_empty() {
        roots.extend(announced.iter().map(|root| root.der().to_vec().into()));
        vouched_by.push_str(", and the roots that this CA gave earlier");
    }
    let net = run.net()?;
    contacted(report, &net, base);
    let url = at(base, "/roots")?;
    let answer = net.get(&url, &Trust::Roots { roots, vouched_by: vouched_by.clone() }).await;
    let answer = answer.and_then(parse::<RootsAnswer>);
    let crts = match answer {
        Ok(answer) => answer.crts,
        Err(error) if error.kind() == ErrorKind::Unreachable && !earlier.is_empty() => {
            run.collected.warn(format!("the CA could not be asked for its roots again: {error}"));
            report.fresh = false;
            return take_earlier(run, origin, earlier);
        }
        Err(error) => return Err(error),
    };
    for pem in crts {
        let file = input::read(pem.as_bytes(), &masked(&url))?;
        run.collected.take_file(&CertificateOrigin { many: true, ..*origin }, file, &[])?;
    }
    report.vouched_by = Some(vouched_by);
    Ok(())
}

/// What an earlier run got from this CA for the same pins, if all of it is still on this system; else nothing.
fn earlier_answer(run: &Acquisition<'_>, index: usize, id: &str) -> Vec<Certificate> {
    let pins = run.request.pins_for(run.source(index));
    let previous =
        run.previous(id).filter(|previous| pins.iter().all(|pin| previous.fingerprints.contains(pin)));
    let certificates = previous.into_iter().flat_map(|previous| &previous.fingerprints);
    let certificates: Option<Vec<_>> =
        certificates.map(|fingerprint| run.known.certificates.get(fingerprint).cloned()).collect();
    certificates.unwrap_or_default()
}

fn take_earlier(
    run: &mut Acquisition<'_>,
    origin: &CertificateOrigin<'_>,
    earlier: Vec<Certificate>,
) -> Result<()> {
    for certificate in earlier {
        run.collected.take(origin, certificate, &[], true)?;
    }
    Ok(())
}

/// Certificates at any address, pinned.
pub(super) async fn root_url(run: &mut Acquisition<'_>, index: usize) -> Result<()> {
    let url = run.url(index)?;
    let id = run.source(index).id()?;
    let pins = run.request.pins_for(run.source(index));
    let origin = CertificateOrigin { id: &id, file: None, many: false };
    let mut report = SourceReport {
        id: id.clone(),
        former_id: run.source(index).former_id(),
        replaces: false,
        contacted: false,
        fresh: true,
        by_pin: true,
        vouched_by: Some("the pinned fingerprint".to_owned()),
        proxy: None,
        cached: false,
        fingerprints: Vec::new(),
    };
    let mut missing = false;
    for pin in pins {
        match local(run, &id, pin) {
            Local::Here(certificate) => {
                run.collected.take(&origin, certificate.clone(), pins, false)?;
            }
            Local::Elsewhere => {}
            Local::Unknown if run.collected.has_met(pin) => {}
            Local::Unknown => match run.cached_root(pin) {
                Some(certificate) => {
                    report.cached = true;
                    run.collected.take(&origin, certificate, pins, false)?;
                }
                None => missing = true,
            },
        }
    }
    if missing {
        let net = run.net()?;
        run.warn_of_password(&url);
        contacted(&mut report, &net, &url);
        let body = net.get(&url, &Trust::Unverified).await?.success()?;
        let file = given::read(&body, &id)?;
        run.collected.take_file(&origin, file, pins)?;
    }
    run.collected.report(index, report);
    Ok(())
}

/// What this system knows of a pin.
enum Local<'a> {
    /// The certificate is in every store.
    Here(&'a Certificate),
    /// The same, and an earlier run got it from another source of this request: that one accepts it, so that the record
    /// of its sources stays as it is.
    Elsewhere,
    /// Nothing.
    Unknown,
}

fn local<'a>(run: &Acquisition<'a>, id: &str, pin: &Fingerprint) -> Local<'a> {
    let Some(certificate) = run.known.certificates.get(pin) else { return Local::Unknown };
    let brought = |id: &str| run.previous(id).is_some_and(|previous| previous.fingerprints.contains(pin));
    let by_another = run.request.sources.iter().any(|source| {
        matches!(source, Source::StepCa { .. } | Source::RootUrl { .. })
            && run.request.pins_for(source).contains(pin)
            && source.id().is_ok_and(|other| other != id && brought(&other))
    });
    if by_another && !brought(id) { Local::Elsewhere } else { Local::Here(certificate) }
}

fn contacted(report: &mut SourceReport, net: &Net, url: &Url) {
    report.contacted = true;
    report.proxy = net.proxy_shown(url);
}

/// `path` at the CA.
fn at(base: &Url, path: &str) -> Result<Url> {
    base.join(path)
        .map_err(|error| Error::failed("could not build the CA's address").at(masked(base)).because(error))
}

fn parse<T: for<'de> Deserialize<'de>>(answer: FetchAnswer) -> Result<T> {
    let url = answer.url.clone();
    let body = answer.success()?;
    serde_json::from_slice(&body).map_err(|_| not_a_step_ca("it is not the JSON that a step-ca sends", &url))
}

fn not_a_step_ca(why: &str, url: &Url) -> Error {
    Error::usage(format!("`{}` does not answer as a step-ca does: {why}", authority(url)))
        .at(masked(url))
        .hint("a certificate at any other address is fetched with `--root-url URL --fingerprint HEX`")
}
