//! `trustup bootstrap`: fetch, check the pin, install, prove; then, maybe, become the service. The command line is here;
//! what is done with it in [`install`], what is said of it in [`report`].

mod install;
mod report;

use std::path::PathBuf;

use clap::Args;

use super::Context;
use super::config::ConfigArg;
use super::env::locate;
use super::stores::{Create, StoreArgs};
use super::trees::Trees;
use super::variables::{Parsed, PublishedSources};
use crate::cert::is_anchor_name;
use crate::converge::Options;
use crate::doctor;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::native;
use crate::plan::CA_OUT;
use crate::rootfs::output::OutputTarget;
use crate::runtime;
use crate::source::{self, Acquired, Known, Request, Source};
use crate::state::State;
use crate::trust::facts::{Facts, UpdaterChoice};
use crate::trust::runtimes::{JAVA_OPTIONS, for_command, left_out};
use crate::trust::stores::Wish;
use crate::trust::view::View;

use self::install::{install, known};
use self::report::{report, report_sources};

/// Where roots may be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Store {
    /// The system's bundles and hashed directories; where they cannot be written, the private store
    System,
    /// A combined bundle and a hashed directory of your own, which programs use once variables say so
    Private,
    /// Java's keystores
    Java,
    /// NSS databases: browsers, and curl on old Red Hat systems
    Nss,
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
brings) and CA_BUNDLE_URL work alone. If the command line names any source or pin, none comes from variables. Where both
are silent, [ca] and [trust] of trustup.toml say what to trust.")]
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
    #[arg(long, value_name = "HEX", value_parser = super::fingerprint)]
    bundle_sha256: Option<Fingerprint>,
    /// Also take the step-ca's other roots, over TLS verified by the pinned one
    #[arg(long)]
    all_roots: bool,
    /// Make an unpinned certificate of --ca-file an error, and every root that would become trusted unasked
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
    /// Make it an error if the system's stores cannot be written, instead of using the private store
    #[arg(long)]
    require_system: bool,
    /// Which stores to write [default: system, java and nss, as far as they are there]
    #[arg(long, value_name = "LIST", value_delimiter = ',', hide_default_value = true)]
    stores: Vec<Store>,
    /// Make it an error if any store cannot be changed (the system's, a Java without a keystore, a database), and if a
    /// certificate file or store of the distribution is damaged
    #[arg(long)]
    strict: bool,
    /// Make a keystore from the system's roots and yours for each Java that has none (a dangling link, a link to a bundle)
    #[arg(long)]
    create_java: bool,
    /// Make the NSS database that browsers share, where there is none
    #[arg(long)]
    create_nss: bool,
    /// Which trust update to use
    #[arg(long, value_name = "WHICH", default_value = "auto")]
    updater: UpdaterChoice,
    /// Mend what others left damaged in the system's stores, as `trustup doctor` finds it; works without a source, too
    #[arg(long)]
    repair: bool,
    /// If the image has no bundle at all, begin it with the Web PKI's roots
    #[arg(long)]
    with_web_pki: bool,
    /// Also write the accepted roots to FILE of the sysroot, as PEM (a copy for one service; untrust leaves it), or to standard
    /// output (`-`)
    #[arg(long, value_name = "FILE")]
    ca_out: Option<PathBuf>,
    /// Also name the roots in Firefox's policy file (/etc/firefox/policies/policies.json), for profiles that are not there yet
    #[arg(long)]
    firefox_policy: bool,
    /// After success, become this command
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
    #[command(flatten)]
    _config: ConfigArg,
    // Last: its heading would stand above what follows.
    #[command(flatten)]
    store_args: StoreArgs,
}

/// With `--repair` what is still damaged afterwards is an error that says why.
fn refuse_unrepaired(trees: &Trees) -> Result<()> {
    let view = View::new(&trees.system, State::load(&trees.system)?.ours())?;
    let facts = Facts::gather(&view)?;
    let left = doctor::unrepaired(&view, &facts)?;
    let Some(first) = left.first() else { return Ok(()) };
    let list: Vec<String> =
        left.iter().map(|finding| format!("`{}`: {}", finding.place, finding.what)).collect();
    Err(Error::failed("`--repair` could not repair everything")
        .because(anyhow::anyhow!("{}", list.join("; ")))
        .hint(if first.mendable {
            format!(
                "run it as a user who can write `{}`, on a file system that is not read-only",
                first.place
            )
        } else {
            first.first_to_change.clone()
        }))
}

impl BootstrapArgs {
    /// Whether this store is to be written; all that are there, if none is named.
    fn wants(&self, store: Store) -> bool {
        match store {
            Store::System | Store::Java | Store::Nss if self.stores.is_empty() => true,
            store => self.stores.contains(&store),
        }
    }

    /// What is wanted of keystores and databases.
    fn wishes(&self) -> (Wish, Wish) {
        let wish = |store| match self.wants(store) {
            false => Wish::No,
            true if self.strict || self.stores.contains(&store) => Wish::Named,
            true => Wish::IfThere,
        };
        (wish(Store::Java), wish(Store::Nss))
    }

    /// Which stores are made where there are none.
    fn create(&self) -> Create {
        Create { java: self.create_java, nss: self.create_nss }
    }

    /// The anchor's name; who writes the extension means the same file.
    fn anchor_name(&self) -> Option<&str> {
        self.name.as_deref().map(|name| name.strip_suffix(".crt").unwrap_or(name))
    }
}

/// The hint where the report is lost.
const REPORT_AGAIN: &str = "`trustup status` shows which roots are in which store";

pub(super) fn run(context: &Context, args: &BootstrapArgs, said: &Parsed) -> Result<u8> {
    let (ui, global, published) = (context.ui, context.global, &said.sources);
    let mut trees = context.trees()?;
    if !args.command.is_empty() && !trees.system.is_host() {
        return Err(Error::usage("a command cannot be started in another sysroot")
            .at(trees.system.path().display())
            .hint("leave out `-- COMMAND`, or run trustup inside that root file system"));
    }
    if !published.ignored.is_empty() {
        ui.say(format!("ignored, since the command line names a source: {}", published.ignored.join(", ")));
    }
    if let Some(path) = &published.ignored_file {
        let path = crate::text::escape(&path.to_string_lossy());
        ui.say(format!(
            "ignored, since the command line or the environment names a source: those of `{path}`"
        ));
    }
    check_name(args)?;
    check_stores(args)?;
    check_sources(args, said)?;
    let to_standard_output = check_ca_out(context, args, &trees)?;
    let stamp = context.stamp()?;
    let request = request(context, args, published)?;
    trees.refuse_newer()?;

    // Files are read anyway: what is here already matters only to sources that are asked over the network.
    let only_files = request.sources.iter().all(|source| matches!(source, Source::File { .. }));
    let known = if only_files { Known::default() } else { known(&trees)? };
    let busy = (!only_files).then(|| ui.busy("fetching certificates")).flatten();
    let acquired = if is_only_repair(args, &request) {
        Ok(Acquired::default())
    } else {
        // In front of a service it is process 1, and `--wait` may wait for minutes.
        runtime::heed_signals()?;
        source::acquire(&request, &known, context.env)
    };
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

    let selection = args.store_args.selection(context, &trees, args.wishes(), args.create())?;
    let options = Options {
        stores: Some(&selection),
        updater: args.updater,
        leave_unwritable: trees.system.is_host(),
        strict: args.strict,
        require_pin: args.require_pin,
        repair: args.repair,
        dry_run: global.dry_run,
        patience: context.timeout(),
        tool_timeout: context.tool_timeout(),
        stamp,
        now: context.env.now(),
    };
    let done = install(&mut trees, options, args, &acquired);
    let tidied = if global.dry_run { Ok(()) } else { trees.tidy(stamp) };
    let done = done?;
    tidied?;
    // Before the report, which has all warnings.
    let variables = match &done.private {
        Some(_) if !args.command.is_empty() && !global.dry_run => locate(context, &trees).map(|located| {
            left_out(&located.roots, context.env.shown(JAVA_OPTIONS)).iter().for_each(|why| ui.warn(why));
            for_command(&located.roots, located.current(context.env))
        }),
        _ => Ok(Vec::new()),
    };
    let reported = report(context, args, &trees, &acquired, &done).and_then(|()| {
        if !to_standard_output || global.dry_run {
            return Ok(());
        }
        let roots = acquired.anchors.iter().map(|anchor| anchor.certificate.to_pem());
        ui.data(roots.collect::<String>().trim_end())
    });
    if args.repair && !global.dry_run {
        refuse_unrepaired(&trees).map_err(|error| done.blame(error))?;
    }
    if args.command.is_empty() || global.dry_run {
        reported.map_err(|lost| done.blame(lost.after_work(done.changed, REPORT_AGAIN)))?;
        return Ok(0);
    }
    if let Err(lost) = reported {
        lost.mention(ui);
    }
    let before = if done.changed {
        "the trust stores are changed as requested, and the next run does not repeat that"
    } else {
        "the trust stores were already as requested, and nothing was changed"
    };
    Err(native::replace_us(context.env, &args.command, &variables?).hint(before))
}

/// Whether `--ca-out` is standard output.
///
/// # Errors
/// No file can be written there; or the report goes there, too.
fn check_ca_out(context: &Context, args: &BootstrapArgs, trees: &Trees) -> Result<bool> {
    let Some(path) = &args.ca_out else { return Ok(false) };
    match CA_OUT.parse(path)? {
        OutputTarget::Standard if context.ui.json => {
            Err(Error::usage("`--ca-out -` and `--json` both write to standard output")
                .hint("name a file with `--ca-out FILE`, or omit `--json`"))
        }
        OutputTarget::Standard => Ok(true),
        // A path that is not absolute is refused where the plan is made.
        OutputTarget::File(_) => match path.to_str().filter(|path| path.starts_with('/')) {
            Some(path) => CA_OUT.check(&trees.system, path).map(|()| false),
            None => Ok(false),
        },
    }
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

/// `none` goes with nothing else, and a copy is written with the system.
fn check_stores(args: &BootstrapArgs) -> Result<()> {
    if args.stores.contains(&Store::None) && args.stores.len() > 1 {
        return Err(
            Error::usage("`--stores none` goes with no other store").hint("leave `none` out, or the others")
        );
    }
    if args.firefox_policy && !args.wants(Store::System) {
        return Err(Error::usage("`--firefox-policy` needs `system` among the stores")
            .hint("add `system` to `--stores`, or leave `--firefox-policy` out"));
    }
    if (args.create_nss || args.store_args.names_a_database()) && !args.wants(Store::Nss) {
        return Err(Error::usage("`--create-nss` and `--nss-db` need `nss` among the stores")
            .hint("add `nss` to `--stores`, or leave the options out"));
    }
    if args.create_java && !args.wants(Store::Java) {
        return Err(Error::usage("`--create-java` needs `java` among the stores")
            .hint("add `java` to `--stores`, or omit `--create-java`"));
    }
    if args.repair && !args.wants(Store::System) {
        return Err(Error::usage("`--repair` mends the system's stores")
            .hint("leave out `--stores`, or add `system` to it"));
    }
    if args.repair && args.updater == UpdaterChoice::Native {
        return Err(
            Error::usage("`--repair` is done by the built-in updater").hint("leave out `--updater native`")
        );
    }
    if args.ca_out.is_some() && args.stores == [Store::Private] {
        return Err(Error::usage("`--ca-out` is written with the system's stores")
            .hint("leave out `--stores private`, or copy the file that `trustup env` names"));
    }
    Ok(())
}

/// What needs a source is told so. A variable alone is there for every run of an image; a pin must never pin nothing
/// (threat T1).
fn check_sources(args: &BootstrapArgs, said: &Parsed) -> Result<()> {
    let published = &said.sources;
    if args.bundle_sha256.is_some() && args.bundle_url.is_none() && published.bundle_url.is_none() {
        return Err(Error::usage("`--bundle-sha256` pins a bundle, and none is chosen")
            .hint("add `--bundle-url URL`; if the command line names a source or pin, variables name none"));
    }
    let is_said = said.given.iter().any(|id| id == "all_roots");
    if is_said && args.ca_url.is_none() && published.ca_url.is_none() {
        return Err(Error::usage("`--all-roots` asks a step-ca, and none is chosen")
            .hint("add `--ca-url URL --fingerprint HEX`; if the command line names a source or pin, variables name none"));
    }
    Ok(())
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
    // Of two bundles the pin is that of the option it belongs to.
    let names_bundle = args.bundle_url.is_some();
    if let Some(url) = &published.bundle_url {
        sources
            .push(Source::Bundle { url: url.clone(), sha256: args.bundle_sha256.filter(|_| !names_bundle) });
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
    if !is_only_repair(args, &request) {
        request.validate()?;
    }
    Ok(request)
}

/// Whether nothing is to be fetched or read: what is trusted stays as it is, and the stores are mended.
fn is_only_repair(args: &BootstrapArgs, request: &Request) -> bool {
    args.repair && request.sources.is_empty() && request.pins.is_empty() && request.ca_url_pin.is_none()
}
