//! Which certificates the real readers of trust stores can load, beside [`trustup::pki::cert`]'s own answer (threat T39):
//! a root that is accepted must be loaded by OpenSSL, GnuTLS, Go, Java, NSS, p11-kit and rustls, or be known not to be.

mod extensions;
mod fields;
mod keys;
mod mutate;
mod odd;
mod real;

use std::collections::BTreeSet;
use std::path::Path;

use trustup::pki::cert::Certificate;
use trustup::pki::cert::loadable::{Harm, Library, refusals};
use trustup::pki::cert::policy::{self, AcceptancePolicy};

use self::odd::Cases;
use self::real::{Outcome, Verdicts, ask};
use crate::support::xorshift::Xorshift;

/// All that the options allow: what is still refused is refused for its form, its key or its purpose.
const LENIENT: AcceptancePolicy =
    AcceptancePolicy { now: 1_795_392_000, allow_expired: true, allow_intermediate: true };

/// Every case: what is odd about it, and the DER.
fn cases(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut cases = Cases::default();
    extensions::add(&mut cases);
    fields::add(&mut cases);
    keys::add(&mut cases, directory);
    cases.0
}

/// Those that are odd in something else than their keys, and the same in every run.
fn cases_without_keys() -> Vec<(String, Vec<u8>)> {
    let mut cases = Cases::default();
    extensions::add(&mut cases);
    fields::add(&mut cases);
    let fixed = |(name, der): (String, Vec<u8>)| Some((name, mutate::with_fixed_key(&der)?));
    cases.0.into_iter().filter_map(fixed).collect()
}

/// The certificate, if trustup accepts it; else why not.
fn accepted(der: &[u8]) -> Result<Certificate, String> {
    let certificate = Certificate::from_der(der)?;
    policy::check(&certificate, &LENIENT).map(|()| certificate)
}

/// The kind of reader that a real one is of, as the model names it.
fn kind(reader: &str) -> Option<Library> {
    match reader {
        "openssl" => Some(Library::OpenSsl),
        "go" => Some(Library::Go),
        "rustls" => Some(Library::Rustls),
        _ if reader.contains("java-") => Some(Library::Java),
        _ => None,
    }
}

/// Where a real reader loses more by an accepted certificate than the model says.
fn disagreements(certificates: &[(String, Certificate)], verdicts: &Verdicts) -> Vec<String> {
    let mut found = Vec::new();
    for ((reader, number), (outcome, why)) in verdicts {
        let (name, certificate) = &certificates[*number];
        let known = refusals(certificate).into_iter().find(|refusal| Some(refusal.library) == kind(reader));
        let foreseen = match known.as_ref().map(|refusal| refusal.harm) {
            None => Outcome::Loads,
            Some(Harm::Root) => Outcome::Root,
            Some(Harm::Store) => Outcome::Store,
        };
        if *outcome > foreseen {
            found.push(format!("{name}: {reader}: {outcome:?} ({why}), foreseen {foreseen:?}"));
        }
    }
    found
}

/// Where trustup is stricter than every real reader: the cases that it refuses (those behind the first `accepted`) and
/// all of them load, and those of which it says that a library does not load them, with its name.
fn stricter(
    certificates: &[(String, Certificate)],
    accepted: usize,
    verdicts: &Verdicts,
) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (number, (name, certificate)) in certificates.iter().enumerate() {
        let of_this = verdicts.iter().filter(|((_, of), _)| *of == number);
        let all_load = |library: Option<Library>| {
            of_this
                .clone()
                .filter(|((reader, _), _)| library.is_none() || kind(reader) == library)
                .all(|(_, (outcome, _))| *outcome == Outcome::Loads)
        };
        if number >= accepted {
            found.extend(all_load(None).then(|| name.clone()));
            continue;
        }
        let wrong = refusals(certificate).into_iter().filter(|refusal| all_load(Some(refusal.library)));
        found.extend(wrong.map(|refusal| format!("{name}: {}", refusal.library.words())));
    }
    found
}

/// The list of those, with their reasons.
fn known_as_stricter() -> BTreeSet<String> {
    let lines = include_str!("stricter.txt").lines();
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
#[ignore = "needs openssl, python3, libgnutls30, libnss3, p11-kit, openjdk-17-jdk-headless and Go, and root for a mount namespace"]
fn t39_what_is_accepted_is_loaded_by_every_reader_but_those_named() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let cases = cases(directory.path());
    assert!(cases.len() > 250, "{}", cases.len());
    let (mut certificates, mut refused) = (Vec::new(), Vec::new());
    for (name, der) in &cases {
        match (accepted(der), Certificate::from_der(der)) {
            (Ok(certificate), _) => certificates.push((name.clone(), certificate)),
            (Err(_), Ok(certificate)) => refused.push((name.clone(), certificate)),
            // What is no certificate to us is not asked about: it could not be written into a keystore.
            (Err(_), Err(_)) => {}
        }
    }
    let count = certificates.len();
    certificates.extend(refused);
    let verdicts =
        ask(&certificates.iter().map(|(_, certificate)| certificate.clone()).collect::<Vec<_>>(), count);
    let readers: BTreeSet<&String> = verdicts.keys().map(|(reader, _)| reader).collect();
    assert!(readers.len() >= 8, "{readers:?}");
    let of_accepted = verdicts.iter().filter(|((_, number), _)| *number < count);
    assert_eq!(of_accepted.clone().count(), readers.len() * count, "{readers:?}");
    let accepted: Verdicts = of_accepted.map(|(key, verdict)| (key.clone(), verdict.clone())).collect();
    let found = disagreements(&certificates, &accepted);
    assert!(found.is_empty(), "{} disagreements:\n{}", found.len(), found.join("\n"));
    let (found, known) = (stricter(&certificates, count, &verdicts), known_as_stricter());
    let new: Vec<&String> = found.difference(&known).collect();
    let gone: Vec<&String> = known.difference(&found).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "stricter than the readers: new {new:#?}, no longer {gone:#?}"
    );
}

#[test]
#[ignore = "needs what the test above needs"]
fn t39_the_same_for_changed_certificates() {
    let directory = tempfile::TempDir::new().expect("a directory");
    // A search is as random as it can be; a test finds the same each time, whatever the keys of this run are.
    let is_search = std::env::var_os("TRUSTUP_TEST_ROUNDS").is_some();
    let seeds = if is_search { cases(directory.path()) } else { cases_without_keys() };
    let from_env = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
    };
    let mut random =
        Xorshift(0x0039_5eed ^ from_env("TRUSTUP_TEST_SEED", 0).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let wanted = from_env("TRUSTUP_TEST_ROUNDS", 300) as usize;
    let mut certificates = Vec::new();
    let (mut tried, mut seen) = (0, BTreeSet::new());
    while certificates.len() < wanted {
        tried += 1;
        let [one, other] = [0; 2].map(|_| &seeds[random.below(seeds.len())]);
        let Some(der) = mutate::mutate(&one.1, &other.1, &mut random) else { continue };
        if let Ok(certificate) = accepted(&der)
            && seen.insert(certificate.fingerprint())
        {
            certificates.push((format!("{} changed ({tried}) {}", one.0, hex::encode(&der)), certificate));
        }
    }
    let ders: Vec<Certificate> = certificates.iter().map(|(_, certificate)| certificate.clone()).collect();
    let verdicts = ask(&ders, ders.len());
    let found = disagreements(&certificates, &verdicts);
    assert!(found.is_empty(), "{} disagreements:\n{}", found.len(), found.join("\n"));
}
