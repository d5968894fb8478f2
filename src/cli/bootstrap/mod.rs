//! `trustup bootstrap`: fetch, check the pin, install, prove; then exec the service, if one is given. The request and
//! its execution are in [`crate::trust::bootstrap`], the report in [`report`].

mod report;

use super::env::locate;
use super::options::plain;
use super::stores::{DATABASES, JAVA_PASSWORD, NSS_PASSWORD, USERS};
use super::{CommandRow, Context, Run};
use crate::doctor;
use crate::error::{Error, Result};
use crate::process;
use crate::settings::rows::{
    ALL_ROOTS, ALLOW_EXPIRED, ALLOW_INTERMEDIATE, ALLOW_ROLLBACK, ALLOW_SHARED_CONFIG, BUNDLE_SHA256,
    BUNDLE_URL, CA_FILE, CA_OUT, CA_URL, CACHE, COMMAND, CONFIG, CREATE_JAVA, CREATE_NSS, FINGERPRINT,
    FIREFOX_POLICY, NAME, PUBLISHED_BUNDLE_URL, PUBLISHED_CA_FINGERPRINT, PUBLISHED_CA_URL, REPAIR,
    REQUIRE_FRESH, REQUIRE_PIN, REQUIRE_SYSTEM, ROOT_URL, STORES, STRICT, UPDATER, WITH_WEB_PKI,
};
use crate::trust::bootstrap::pipeline::Pipeline;
use crate::trust::bootstrap::request::{self, TrustRequest};
use crate::trust::bootstrap::trees::Trees;
use crate::trust::facts::Facts;
use crate::trust::plan::CA_OUT as CA_OUT_OPTION;
use crate::trust::runtimes::{JAVA_OPTIONS, for_command, left_out};
use crate::trust::state::State;
use crate::trust::view::View;

use self::report::{report, report_sources};

pub(super) static ROW: CommandRow = CommandRow {
    name: "bootstrap",
    about: "Trust a CA: fetch its root or a bundle, check the pin, install it everywhere, prove it",
    after_help: "Examples:
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
are silent, [ca] and [trust] of trustup.toml say what to trust.",
    options: || vec![
        COMMAND.taken(),
        CA_URL.taken_as("A step-ca: its root with the given fingerprint is fetched from /root/…"),
        ROOT_URL.taken(),
        BUNDLE_URL.taken(),
        CA_FILE.taken(),
        FINGERPRINT.taken(),
        BUNDLE_SHA256.taken(),
        PUBLISHED_CA_URL.taken(),
        PUBLISHED_CA_FINGERPRINT.taken(),
        PUBLISHED_BUNDLE_URL.taken(),
        CACHE.taken(),
        ALL_ROOTS.taken(),
        REQUIRE_PIN.taken_as("Make an unpinned certificate of --ca-file an error, and every root that would become trusted without being requested"),
        REQUIRE_FRESH.taken_as("Make a bundle that cannot be reached an error even if an earlier run installed it, and ignore the cache"),
        ALLOW_EXPIRED.taken(),
        ALLOW_INTERMEDIATE.taken(),
        ALLOW_ROLLBACK.taken(),
        NAME.taken(),
        REQUIRE_SYSTEM.taken(),
        STORES.taken(),
        STRICT.taken(),
        CREATE_JAVA.taken(),
        CREATE_NSS.taken(),
        UPDATER.taken(),
        REPAIR.taken(),
        WITH_WEB_PKI.taken(),
        CA_OUT.taken_as("Also write the accepted roots to FILE of the sysroot, as PEM (a copy for one service; untrust leaves it), or to standard output (`-`)"),
        FIREFOX_POLICY.taken(),
        CONFIG.taken(),
        ALLOW_SHARED_CONFIG.taken(),
        JAVA_PASSWORD,
        NSS_PASSWORD,
        USERS,
        DATABASES,
    ],
    reads_variables: true,
    shape: plain,
    run: Run::Waiting(|context| Box::pin(run(context))),
};

/// The hint if the report is lost.
const REPORT_AGAIN: &str = "`trustup status` shows which roots are in which store";

async fn run(context: &Context<'_>) -> Result<u8> {
    let (ui, env) = (context.ui, context.env);
    let settings = request::settings(context.settings, env)?;
    let mut trees = Trees::open(&settings, env)?;
    let command = settings.all(&COMMAND);
    if !command.is_empty() && !trees.system.is_host() {
        return Err(Error::usage("a command cannot be started in another sysroot")
            .at(trees.system.path().display())
            .hint("omit `-- COMMAND`, or run trustup inside that root file system"));
    }
    process::check_command(command)?;
    context.say_ignored();
    settings.notes.iter().for_each(|note| ui.detail(note));
    if let Some(path) = &settings.ignored_file {
        let path = crate::text::escape(&path.to_string_lossy());
        ui.say(format!(
            "ignored, since the command line or the environment names a source: those of `{path}`"
        ));
    }
    let pipeline = Pipeline::new(&settings, context.network(), context.children)?;
    let request = TrustRequest::from_settings(&settings)?;
    check_ca_out(context, &request, &trees)?;
    trees.refuse_newer()?;

    let busy = (!request.is_of_files()).then(|| ui.busy("fetching certificates")).flatten();
    if !request.is_only_repair() {
        // Before a service it is process 1, and `--wait` may wait for minutes.
        context.shutdown.handle()?;
    }
    let acquired = pipeline.acquire(&request, &trees).await;
    drop(busy);
    let acquired = acquired?;
    report_sources(context, &acquired);
    request.check_name_of(&acquired)?;
    for warning in doctor::refused_roots::warnings(&acquired, &request.sources.sources, env.now()) {
        ui.warn(&warning);
    }

    let (done, warning) = pipeline.install(&request, &mut trees, &acquired).await?;
    warning.iter().for_each(|warning| ui.warn(warning));
    let dry_run = context.is_dry_run();
    let before_service = !command.is_empty() && !dry_run;
    // Before the report, which contains all warnings.
    let variables = match &done.private {
        Some(_) if before_service => locate(context, &trees).map(|located| {
            left_out(&located.roots, env.shown(JAVA_OPTIONS)).iter().for_each(|why| ui.warn(why));
            for_command(&located.roots, located.current(env))
        }),
        _ => Ok(Vec::new()),
    };
    let reported =
        report(context, &settings, &request, before_service, &trees, &acquired, &done).and_then(|()| {
            if !request.to_standard_output || dry_run {
                return Ok(());
            }
            let roots = acquired.anchors.iter().map(|anchor| anchor.certificate.to_pem());
            ui.data(roots.collect::<String>().trim_end())
        });
    if request.repair && !dry_run {
        refuse_unrepaired(&trees, &done.system_state).map_err(|error| done.blame(error))?;
    }
    if !before_service {
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
    // A service that is to be stopped is not started.
    context.shutdown.check().map_err(|ended| done.blame(ended))?;
    Err(process::replace_us(env, command, &variables?).hint(before))
}

/// With `--repair`, remaining damage is an error with its reason.
fn refuse_unrepaired(trees: &Trees, state: &State) -> Result<()> {
    let view = View::new(&trees.system, state.ours())?;
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

/// Checks where `--ca-out` writes.
///
/// # Errors
/// No file can be written there; or the report is written there, too.
fn check_ca_out(context: &Context<'_>, request: &TrustRequest, trees: &Trees) -> Result<()> {
    if request.to_standard_output && context.ui.json {
        return Err(Error::usage("`--ca-out -` and `--json` both write to standard output")
            .hint("name a file with `--ca-out FILE`, or omit `--json`"));
    }
    // A path that is not absolute is refused when the plan is made.
    match request.ca_out.as_deref().filter(|path| path.starts_with('/')) {
        Some(path) => CA_OUT_OPTION.check(&trees.system, path),
        None => Ok(()),
    }
}
