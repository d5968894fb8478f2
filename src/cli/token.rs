//! `trustup token`: makes a one-time token on the host for a container, as `step ca token` does. The implementation is
//! in [`crate::certificate::token`].

use super::options::plain;
use super::output::token::TokenReport;
use super::{CommandRow, Context, Run};
use crate::certificate::issue::methods::PROVISIONER;
use crate::certificate::issue::methods::provisioner::{PASSWORD_FILE, PROVISIONER_KEY};
use crate::certificate::issue::methods::x5c::{X5C_CERT, X5C_KEY};
use crate::certificate::issue::request::with_ca;
use crate::certificate::issue::trust::Recorded;
use crate::certificate::token::TokenInput;
use crate::certificate::token::options::{CNF_CSR, OUT, SAN, SUBJECT, VALID_FOR};
use crate::cli::ui::json::UtcTime;
use crate::error::Result;
use crate::net::url::masked;
use crate::settings::rows::{
    ALLOW_SHARED_CONFIG, CA_ROOT, CA_URL, CACHE, CONFIG, FINGERPRINT, PUBLISHED_BUNDLE_URL,
    PUBLISHED_CA_FINGERPRINT, PUBLISHED_CA_URL,
};
use crate::settings::{Scope, load};
use crate::text;

pub(super) static ROW: CommandRow = CommandRow {
    name: "token",
    about: "Make a one-time token for a container: on standard output, or in a file that only you can read",
    after_help: AFTER_HELP,
    options: || {
        vec![
        SUBJECT.taken(),
        SAN.taken(),
        CA_URL.taken(),
        FINGERPRINT.taken_as("SHA-256 fingerprint of the CA's root [default: the root that bootstrap got with a fingerprint]"),
        CA_ROOT.taken_as("A file with the CA's root, instead of a fingerprint"),
        CACHE.taken(),
        PUBLISHED_CA_URL.taken(),
        PUBLISHED_CA_FINGERPRINT.taken(),
        PUBLISHED_BUNDLE_URL.taken(),
        PROVISIONER.taken_as("The provisioner's name [default: with --password-file the CA's only JWK provisioner]"),
        PASSWORD_FILE.taken_as("The password of its key: a file, `-` for standard input, or `fd:N`"),
        PROVISIONER_KEY.taken(),
        X5C_CERT.taken_as("A birth certificate with its intermediates, for an X5C provisioner"),
        X5C_KEY.taken(),
        CNF_CSR.taken(),
        VALID_FOR.taken(),
        OUT.taken(),
        CONFIG.taken(),
        ALLOW_SHARED_CONFIG.taken(),
    ]
    },
    reads_variables: true,
    shape: |command, own| plain(command, own).mut_arg("SUBJECT", |arg| arg.required(true)),
    run: Run::Waiting(|context| Box::pin(run(context))),
};

const AFTER_HELP: &str = "Examples:
  With the provisioner's password; the CA is asked for the encrypted key:
    trustup token web.internal --ca-url https://ca.internal:9000 --fingerprint 2f0c…9a --provisioner dev \\
      --password-file ./password --out ./token
    docker run -v ./token:/run/secrets/ca_token:ro …
  With the provisioner's key, without any network:
    trustup token web.internal --ca-url https://ca.internal:9000 --fingerprint 2f0c…9a --provisioner dev \\
      --provisioner-key ./dev.jwk --password-file ./password
  With a birth certificate, for more than one name, for one request only:
    trustup token web.internal --san web.internal --san 10.0.0.7 --provisioner birth --x5c-cert birth.crt \\
      --x5c-key birth.key --cnf-csr web.csr

A token works once, and until it expires. It names the CA and its root, so the container needs nothing else:
`trustup enroll token --token-file /run/secrets/ca_token …`. CA and root are those that `trustup bootstrap` was given,
unless you name others.";

async fn run(context: &Context<'_>) -> Result<u8> {
    let (env, ui) = (context.env, context.ui);
    context.say_ignored();
    let file = load(env, context.settings, Scope::Trust, &[])?;
    file.iter().flat_map(|file| &file.notes).for_each(|note| ui.detail(note));
    let mut notes = Vec::new();
    let (settings, ca) = with_ca(context.settings, file.as_ref(), &mut notes);
    notes.iter().for_each(|note| ui.say(note));
    let recorded = || Recorded::of(&context.trees()?.states()?, false);
    let warn = |line: &str| ui.warn(line);
    let input = TokenInput::from_settings(&settings, env, &ca, recorded, &|line| ui.say(line), &warn)?;
    let (subject, ca_url) = (&input.subject, masked(input.ca_url()));
    if context.is_dry_run() {
        let of = match &input.provisioner {
            Some(name) => format!("the provisioner `{}`", text::escape(name)),
            None => "the only JWK provisioner".to_owned(),
        };
        ui.say(format!("would make a token for `{subject}`, of {of} at `{ca_url}`"));
        ui.result(&TokenReport {
            changed: false,
            dry_run: true,
            subject,
            provisioner: input.provisioner.as_deref(),
            ca_url,
            root: input.root(),
            expires: None,
            out: input.out.as_ref().map(|out| out.path.as_str()),
            token: None,
        })?;
        return Ok(0);
    }
    let busy = input.asks_the_ca().then(|| ui.busy("asking the CA")).flatten();
    let made = input.make(&settings, &context.network(), &warn).await;
    drop(busy);
    let made = made?;
    let until = text::moment(made.expires);
    let out = input.out.as_ref();
    match out {
        Some(out) => {
            out.write(&made.token)?.iter().for_each(|warning| ui.warn(warning));
            ui.say(format!(
                "wrote a token for `{subject}` to `{}`; it works once, until {until}",
                text::escape(&out.path)
            ));
        }
        None if ui.json => {}
        None => {
            ui.data(made.token.as_str())?;
            ui.detail(format!("it works once, until {until}"));
        }
    }
    let report = TokenReport {
        changed: out.is_some(),
        dry_run: false,
        subject,
        provisioner: Some(&made.provisioner),
        ca_url,
        root: made.root,
        expires: Some(UtcTime(made.expires)),
        out: out.map(|out| out.path.as_str()),
        token: out.is_none().then_some(made.token.as_str()),
    };
    ui.result(&report).map_err(|lost| {
        let file = out.map(|out| text::escape(&out.path));
        lost.after_work(out.is_some(), "the token works; its time limit is in the token itself")
            .with_changed(file)
    })?;
    Ok(0)
}
