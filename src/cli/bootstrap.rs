//! `trustup bootstrap`: fetch, check the pin, install, prove; then, maybe, become the service.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Context;
use super::variables::PublishedSources;
use crate::converge::{Goal, Options, Outcome, anchor_name, converge, standing_path};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::native;
use crate::source::{self, Acquired, Known, PreviousSource, Request, Source};
use crate::state::{State, Status, StoredAnchor, is_anchor_name};
use crate::sysroot::Sysroot;
use crate::trust::facts::{Choice, Facts};
use crate::trust::view::View;

/// Where roots may be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Store {
    /// The system's bundles and hashed directories
    System,
    /// No store: only check the pin and record the root
    None,
}

/// Trust a CA: fetch its root or a bundle, check the pin, install it everywhere, prove it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  In a Dockerfile, from a step-ca:
    RUN [\"trustup\", \"bootstrap\", \"--ca-url\", \"https://ca.internal:9000\", \"--fingerprint\", \"2f0c…9a\"]
  A certificate at any address, and a bundle from the host that it vouches for:
    trustup bootstrap --root-url http://pki.internal/root.crt --fingerprint 2f0c…9a --bundle-url https://pki.internal/bundle.pem
  Mounted certificates at container start, then the service:
    ENTRYPOINT [\"trustup\", \"bootstrap\", \"--ca-file\", \"/certificates\", \"--\"]
  An unpacked image:
    trustup --sysroot ./rootfs bootstrap --ca-file root.pem --fingerprint 2f0c…9a

Published images' variables CA_URL (a step-ca, or the address of a certificate), CA_FINGERPRINT (pins what CA_URL
brings) and CA_BUNDLE_URL work alone. If the command line names any source or pin, none comes from variables.")]
pub(super) struct BootstrapArgs {
    /// A step-ca: its root with the given fingerprint is fetched from /root/…
    #[arg(long, value_name = "URL")]
    ca_url: Option<String>,
    /// A certificate at any http(s) address: PEM, DER or PKCS#7
    #[arg(long, value_name = "URL")]
    root_url: Option<String>,
    /// A file of many roots; its host is vouched for by the pinned root, or by the system's roots
    #[arg(long, value_name = "URL")]
    bundle_url: Option<String>,
    /// A certificate file, `-` for standard input, or a directory of them (repeatable)
    #[arg(long, value_name = "FILE")]
    ca_file: Vec<PathBuf>,
    /// SHA-256 fingerprint of a root from --ca-url, --root-url or --ca-file (repeatable)
    #[arg(long, value_name = "HEX", value_delimiter = ',', value_parser = super::fingerprint)]
    fingerprint: Vec<Fingerprint>,
    /// SHA-256 of the bundle's file (`sha256sum`); without TLS it is needed
    #[arg(long, value_name = "HEX", requires = "bundle_url", value_parser = super::fingerprint)]
    bundle_sha256: Option<Fingerprint>,
    /// Also take the step-ca's other roots, over TLS verified by the pinned one
    #[arg(long, requires = "ca_url")]
    all_roots: bool,
    /// Make an unpinned certificate of --ca-file an error
    #[arg(long)]
    require_pin: bool,
    /// Make a bundle that cannot be reached an error even if an earlier run installed it
    #[arg(long)]
    require_fresh: bool,
    /// Take roots that are expired or not yet valid
    #[arg(long)]
    allow_expired: bool,
    /// Take intermediate CA certificates
    #[arg(long)]
    allow_intermediate: bool,
    /// Take roots that left this bundle before and are in it again
    #[arg(long)]
    allow_rollback: bool,
    /// Name of the anchor file, without extension [default: from subject and fingerprint]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Which stores to write
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "system")]
    stores: Vec<Store>,
    /// Which trust update to use
    #[arg(long, value_name = "WHICH", default_value = "auto")]
    updater: Choice,
    /// If the image has no bundle at all, begin it with the Web PKI's roots
    #[arg(long)]
    with_web_pki: bool,
    /// Also write the accepted roots to FILE of the sysroot, as PEM (a copy for one service; untrust leaves it)
    #[arg(long, value_name = "FILE")]
    ca_out: Option<PathBuf>,
    /// After success, become this command
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl BootstrapArgs {
    /// The anchor's name; who writes the extension means the same file.
    fn anchor_name(&self) -> Option<&str> {
        self.name.as_deref().map(|name| name.strip_suffix(".crt").unwrap_or(name))
    }
}

pub(super) fn run(context: &Context, args: &BootstrapArgs, published: &PublishedSources) -> Result<u8> {
    let (ui, global) = (context.ui, context.global);
    let sysroot = context.sysroot()?;
    if !args.command.is_empty() && !sysroot.is_host() {
        return Err(Error::usage("a command cannot be started in another sysroot")
            .at(sysroot.path().display())
            .hint("leave out `-- COMMAND`, or run trustup inside that root file system"));
    }
    if !published.ignored.is_empty() {
        ui.say(format!("ignored, since the command line names a source: {}", published.ignored.join(", ")));
    }
    check_name(args)?;
    if args.stores.contains(&Store::None) && args.stores.len() > 1 {
        return Err(
            Error::usage("`--stores none` goes with no other store").hint("leave `none` out, or the others")
        );
    }
    let stamp = context.stamp()?;
    let request = request(context, args, published)?;

    // Files are read anyway: what is here already matters only to sources that are asked over the network.
    let only_files = request.sources.iter().all(|source| matches!(source, Source::File { .. }));
    let known = if only_files { Known::default() } else { known(&sysroot)? };
    let busy = (!only_files).then(|| ui.busy("fetching certificates")).flatten();
    let acquired = source::acquire(&request, &known, context.env);
    drop(busy);
    let acquired = acquired?;
    report_sources(context, &acquired);
    if args.name.is_some() && acquired.anchors.len() > 1 {
        return Err(Error::usage(format!(
            "`--name` names one certificate, and {} are to be installed",
            acquired.anchors.len()
        ))
        .hint("leave `--name` out: then each name is made from subject and fingerprint"));
    }

    let options = Options {
        updater: args.updater,
        dry_run: global.dry_run,
        patience: context.timeout(),
        tool_timeout: context.tool_timeout(),
        stamp,
    };
    let outcome =
        converge(&sysroot, options, |state, view, facts| goal(state, view, facts, args, &acquired))?;
    let changed = outcome.changed && !global.dry_run;
    report(context, args, &sysroot, &acquired, &outcome, changed)
        .map_err(|error| outcome.blame(error, changed))?;
    if args.command.is_empty() || global.dry_run {
        return Ok(0);
    }
    Err(native::replace_us(context.env, &args.command))
}

/// Anchor names are file names: threat T4.
fn check_name(args: &BootstrapArgs) -> Result<()> {
    let Some(name) = args.anchor_name() else { return Ok(()) };
    if is_anchor_name(name) {
        return Ok(());
    }
    Err(Error::usage(
        "the name of an anchor has letters, digits, `.`, `_` and `-`, and begins with a letter or digit",
    )
    .at(crate::text::escape(name))
    .hint("such as `--name corp-root-2026`"))
}

/// The request: command line, or variables of published Dockerfiles where it is silent.
fn request(context: &Context, args: &BootstrapArgs, published: &PublishedSources) -> Result<Request> {
    let mut sources = Vec::new();
    for path in &args.ca_file {
        sources.push(Source::File { path: path.clone() });
    }
    if let Some(url) = &args.ca_url {
        sources.push(Source::StepCa { url: url.clone(), all_roots: args.all_roots, from_ca_url: false });
    }
    if let Some(url) = &args.root_url {
        sources.push(Source::RootUrl { url: url.clone(), from_ca_url: false });
    }
    if let Some(url) = &args.bundle_url {
        sources.push(Source::Bundle { url: url.clone(), sha256: args.bundle_sha256 });
    }
    if let Some(value) = &published.ca_url {
        sources.push(Source::from_ca_url(value, args.all_roots)?);
    }
    if let Some(url) = &published.bundle_url {
        sources.push(Source::Bundle { url: url.clone(), sha256: None });
    }
    let ca_url_pin = match &published.ca_fingerprint {
        Some(text) => Some(text.parse().map_err(|error: Error| error.at("CA_FINGERPRINT"))?),
        None => None,
    };
    let request = Request {
        sources,
        pins: args.fingerprint.clone(),
        ca_url_pin,
        require_pin: args.require_pin,
        require_fresh: args.require_fresh,
        allow_expired: args.allow_expired,
        allow_intermediate: args.allow_intermediate,
        allow_rollback: args.allow_rollback,
        timeout: context.timeout(),
        wait: context.global.wait,
    };
    request.validate()?;
    Ok(request)
}

/// What an earlier run, or the image, brought already: a pin found there needs no request, since the pin is the
/// hash of the certificate wherever it comes from.
fn known(sysroot: &Sysroot) -> Result<Known> {
    let state = State::load(sysroot)?;
    let view = View::new(sysroot, state.ours())?;
    let facts = Facts::gather(&view)?;
    let mut certificates = BTreeMap::new();
    for output in &facts.outputs {
        for certificate in view.actual_certificates(&output.path).unwrap_or_default() {
            certificates.insert(certificate.fingerprint(), certificate);
        }
    }
    for anchor in &state.anchors {
        certificates.insert(anchor.fingerprint, anchor.certificate()?);
    }
    let previous = state
        .sources
        .into_iter()
        .map(|(id, source)| {
            (id, PreviousSource { fingerprints: source.fingerprints, removed: source.removed })
        })
        .collect();
    Ok(Known { certificates, previous })
}

/// What is to be trusted afterwards: all that was, but for what its bundle no longer holds, and what came now.
fn goal(
    state: &State,
    view: &View,
    facts: &Facts,
    args: &BootstrapArgs,
    acquired: &Acquired,
) -> Result<Goal> {
    let to_stores = !args.stores.contains(&Store::None);
    let mut anchors = state.anchors.clone();
    let mut sources = state.sources.clone();
    let mut standing = BTreeMap::new();
    for report in &acquired.sources {
        let stored = sources.entry(report.id.clone()).or_default();
        stored.replaces |= report.replaces;
        if !report.fresh {
            continue;
        }
        let now = &report.fingerprints;
        let left: Vec<Fingerprint> =
            stored.fingerprints.iter().filter(|one| !now.contains(one)).copied().collect();
        if report.replaces {
            for anchor in anchors.iter_mut().filter(|anchor| left.contains(&anchor.fingerprint)) {
                anchor.sources.retain(|source| *source != report.id);
            }
            stored.removed.extend(left);
            stored.removed.retain(|one| !now.contains(one));
            stored.fingerprints.clone_from(now);
        } else {
            stored.fingerprints.extend(
                now.iter().filter(|one| !stored.fingerprints.contains(one)).copied().collect::<Vec<_>>(),
            );
        }
    }
    for came in &acquired.anchors {
        let fingerprint = came.certificate.fingerprint();
        if let Some(file) = &came.file
            && let Some(path) = standing_path(view.sysroot(), facts, file)?
        {
            standing.insert(fingerprint, path);
        }
        let name = args.anchor_name().map_or_else(|| anchor_name(&came.certificate), ToOwned::to_owned);
        let index = match anchors.iter().position(|anchor| anchor.fingerprint == fingerprint) {
            Some(index) => index,
            None => {
                anchors.push(StoredAnchor::new(&came.certificate, name.clone(), came.source.clone()));
                anchors.len() - 1
            }
        };
        let anchor = &mut anchors[index];
        if args.name.is_some() {
            anchor.name = name;
        }
        if to_stores && anchor.status == Status::Recorded {
            anchor.status = Status::Installed;
        }
        for report in acquired.sources.iter().filter(|report| report.fingerprints.contains(&fingerprint)) {
            if !anchor.sources.contains(&report.id) {
                anchor.sources.push(report.id.clone());
            }
        }
    }
    anchors.retain(|anchor| !anchor.sources.is_empty());
    // A name that is given again passes to the new certificate.
    if let (Some(name), Some(came)) = (args.anchor_name(), acquired.anchors.first()) {
        let fingerprint = came.certificate.fingerprint();
        anchors.retain(|anchor| anchor.name != name || anchor.fingerprint == fingerprint);
    }
    let copy = match &args.ca_out {
        None => None,
        Some(path) => {
            let path = path
                .to_str()
                .ok_or_else(|| Error::usage("the path of `--ca-out` is not UTF-8").at(path.display()))?;
            Some((
                path.to_owned(),
                acquired.anchors.iter().map(|anchor| anchor.certificate.to_pem()).collect(),
            ))
        }
    };
    let web_pki = state.web_pki || args.with_web_pki;
    Ok(Goal { anchors, sources, web_pki, standing, copy, profile: state.profile.into() })
}

fn report_sources(context: &Context, acquired: &Acquired) {
    let ui = context.ui;
    for warning in &acquired.warnings {
        ui.warn(warning);
    }
    for left in &acquired.left_out {
        let fingerprint = left.fingerprint.map(|one| format!(" ({one})")).unwrap_or_default();
        ui.say(format!("left out: {}{fingerprint} from {}: {}", left.subject, left.source, left.reason));
    }
    for source in &acquired.sources {
        let vouched =
            source.vouched_by.as_ref().map(|who| format!(", vouched for by {who}")).unwrap_or_default();
        let proxy =
            source.proxy.as_ref().map(|proxy| format!(", through the proxy {proxy}")).unwrap_or_default();
        let how = if source.contacted { "read" } else { "not asked: everything that it gave is here" };
        ui.detail(format!("source {}: {how}{vouched}{proxy}", source.id));
    }
}

fn report(
    context: &Context,
    args: &BootstrapArgs,
    sysroot: &Sysroot,
    acquired: &Acquired,
    outcome: &Outcome,
    changed: bool,
) -> Result<()> {
    let ui = context.ui;
    for warning in &outcome.warnings {
        ui.warn(warning);
    }
    ui.detail(format!("{}: {} updater: {}", outcome.row, outcome.updater.0, outcome.updater.1));
    if context.global.dry_run || ui.verbose {
        ui.plan(&outcome.steps);
    }
    let came = |fingerprint: &Fingerprint| {
        acquired.anchors.iter().any(|anchor| anchor.certificate.fingerprint() == *fingerprint)
    };
    for anchor in outcome.anchors.iter().filter(|anchor| came(&anchor.fingerprint)) {
        let what = match anchor.status {
            "installed" if context.global.dry_run => "would be trusted",
            "installed" => "now trusted",
            "already" => "already trusted",
            "vendor" => "already trusted by the distribution",
            "mounted" => "trusted from its place in the anchor directory",
            _ => "recorded, in no store",
        };
        ui.say(format!("{what}: {} ({})", anchor.subject, anchor.fingerprint));
    }
    if context.global.dry_run {
        ui.say(format!("{} steps; nothing was changed (--dry-run)", outcome.steps.len()));
    } else if !changed {
        ui.say("nothing to do");
    } else if !args.stores.contains(&Store::None) {
        ui.say(format!("proven by reading back: {}", outcome.outputs.join(", ")));
    }
    ui.result(
        "bootstrap",
        json!({
            "sysroot": sysroot.path(),
            "row": outcome.row,
            "updater": outcome.updater.0,
            "updater_why": outcome.updater.1,
            "changed": changed,
            "anchors": outcome.anchors,
            "left_out": acquired.left_out.iter().map(|left| json!({
                "fingerprint": left.fingerprint, "subject": left.subject, "source": left.source, "reason": left.reason,
            })).collect::<Vec<_>>(),
            "sources": acquired.sources.iter().map(|source| json!({
                "id": source.id, "contacted": source.contacted, "fresh": source.fresh,
                "vouched_by": source.vouched_by, "proxy": source.proxy,
            })).collect::<Vec<_>>(),
            "plan": outcome.steps,
            "outputs": outcome.outputs,
            "warnings": acquired.warnings.iter().chain(&outcome.warnings).collect::<Vec<_>>(),
        }),
    )
}
