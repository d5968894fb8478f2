//! Certificates from an ACME server (RFC 8555): account, order, challenges, finalisation.
//!
//! Every byte goes through our own HTTP client (`transport`), which lets no request leave the directory's origin. What
//! a server sends is checked here before a file, a hook or a listener sees it (threat T20). Must not judge the returned
//! certificate (the caller does), make the certificate's key, or write anything but a webroot's challenge files.

mod account;
mod account_file;
mod chain;
mod check;
mod choice;
mod identifier;
mod messages;
mod order;
mod problem;
mod renewal_info;
mod resume;
mod settings;
mod solver;
mod transport;
mod validation;
mod waiting;

use zeroize::Zeroizing;

pub use self::chain::Accept;
pub(crate) use self::choice::ChallengeSetup;
pub use self::renewal_info::{RenewalInfo, RenewalWindow, renewal_info};
pub use self::resume::KeptOrder;
pub use self::settings::{AcmeSettings, ChallengeType, DnsSolver, Eab, Rfc2136};

use self::order::{PlacedOrder, Terms};
use self::resume::Resumed;
use self::solver::Solvers;
use self::transport::Transport;
use crate::error::{Error, ErrorKind, Result};
use crate::net::Client;
use crate::pki::cert::{Certificate, SubjectAltName};
use crate::process::Children;

/// Stores the account's key between runs: a file of ours, 0600, for the server's directory; and records that a request
/// is on its way.
///
/// The content is text: a PKCS#8 key in PEM with the directory's and the account's URL above it, so that OpenSSL reads
/// it as well. A PEM key of an account that other software made is understood too.
pub trait AccountStore: Send {
    /// Its path, for messages.
    fn place(&self) -> String;
    /// What was saved last; `None` if nothing was.
    fn load(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>>;
    /// Whether a key of other software there must stay as it is: another program's file, which is not replaced. Its
    /// account is found by the key each time.
    fn stays(&mut self) -> Result<bool> {
        Ok(false)
    }
    /// Makes sure that [`AccountStore::save`] will work: asked before an account is made, which may be possible once
    /// only. Changes nothing.
    fn prepare(&mut self) -> Result<()>;
    /// Also keeps what was saved last under another name beside it, so that it outlives the next save; returns its
    /// path. `None` if nothing was saved.
    fn set_aside(&mut self) -> Result<Option<String>>;
    /// Replaces the stored content with `content`, on disk when this returns.
    fn save(&mut self, content: &[u8]) -> Result<()>;
    /// The stored order in progress; `None` if there is none, or if it cannot be used.
    fn order(&mut self) -> Result<Option<KeptOrder>>;
    /// Replaces the stored order with `order`, on disk when this returns; `None` removes it. The caller of [`obtain`]
    /// removes it as well once it has stored the certificate.
    fn save_order(&mut self, order: Option<&KeptOrder>) -> Result<()>;
    /// Called right before the certificate's request is sent: from now on the CA may issue. An error ends it.
    fn before_request(&mut self) -> Result<()>;
}

/// Receives progress, one line at a time.
#[derive(Clone, Copy)]
pub struct Report<'a> {
    /// The stages.
    pub say: &'a (dyn Fn(&str) + Sync),
    /// Problems that do not end it.
    pub warn: &'a (dyn Fn(&str) + Sync),
}

impl Report<'_> {
    fn say(&self, line: &str) {
        (self.say)(line);
    }

    fn warn(&self, line: &str) {
        (self.warn)(line);
    }
}

/// What a run works with.
#[derive(Clone, Copy)]
pub struct AcmeContext<'a> {
    /// For the server's directory.
    pub client: &'a Client,
    /// The owner of hooks.
    pub children: &'a Children,
    /// Whom to tell.
    pub report: Report<'a>,
}

/// Why no certificate was issued.
#[derive(Debug)]
pub struct Failed {
    /// The error to report.
    pub error: Error,
    /// Whether the server was not reachable at all, so that everything may be tried again.
    pub(crate) again: bool,
    /// Whether the CA may have issued a certificate nevertheless: it received the request, and did not refuse it.
    pub(crate) unsettled: bool,
}

impl From<Error> for Failed {
    /// Trying again changes nothing.
    fn from(error: Error) -> Self {
        Failed { error, again: false, unsettled: false }
    }
}

impl Failed {
    /// The CA has the request, and its decision is unknown.
    fn unsettled(error: Error) -> Self {
        Failed { unsettled: true, ..error.into() }
    }
}

/// Gets a certificate for `names` with the request `csr_der` (PKCS#10, DER, without a CN): leaf first, then what the
/// server sent after it. Of the chains that the server offers, one that `accept` accepts; if there is none, the
/// server's own. An order of an earlier run is resumed; `accept` must refuse a certificate for another key than the
/// request's. `report` gets a line for each stage. Bounded by the client's deadline; a signal ends it. Published
/// challenge answers are removed before this returns: await it to its end.
///
/// # Errors
/// `Usage` for incompatible names and settings, `NotTrusted` if the CA refuses, `Unreachable` if it does not answer or
/// validate in time.
pub async fn obtain(
    context: AcmeContext<'_>,
    settings: &AcmeSettings,
    account: &mut dyn AccountStore,
    names: &[SubjectAltName],
    csr_der: &[u8],
    accept: &Accept<'_>,
) -> Result<Vec<Certificate>, Failed> {
    let AcmeContext { client, ref report, .. } = context;
    let identifiers = identifier::identifiers(names)?;
    settings.check(names)?;
    let mut solvers = Solvers::new(&context, settings)?;
    let transport = Transport::open(client, &settings.directory, account.place()).await?;
    if let Some(warning) = transport.skew().and_then(waiting::clock_warning) {
        report.warn(&warning);
    }
    settings.check_profile(&transport)?;
    let terms = Terms::new(&identifiers, settings, transport.now())?;
    let opened = account::open(&transport, settings, account, report).await?;
    let resumed = resume::resume(&transport, opened, settings, account, &terms, accept, report).await?;
    let PlacedOrder { mut order, answers } = match resumed {
        Resumed::Issued(chain) => {
            report.say("certificate issued");
            return Ok(chain);
        }
        Resumed::Open(placed) => *placed,
        Resumed::Nothing(opened) => {
            order::place(&transport, opened, settings, account, &terms, report).await?
        }
    };
    let validated = match solvers.put_up(&answers, report).await {
        Ok(()) => validation::validate(&transport, &mut order, &answers, report).await,
        Err(error) => Err(error),
    };
    solvers.take_away(report).await;
    if let Err(error) = validated {
        // A name that was refused once is lost for this order.
        if error.kind() == ErrorKind::NotTrusted {
            forget(account);
        }
        return Err(error.into());
    }
    account.before_request()?;
    let sent = match order::finalize(&transport, settings, &mut order, csr_der).await {
        Err(failed) if !failed.unsettled && failed.error.kind() == ErrorKind::NotTrusted => {
            forget(account);
            return Err(failed);
        }
        sent => sent?,
    };
    let preferred = settings.preferred_chain.as_deref();
    let chain = chain::choose(&transport, &order.account, &sent, preferred, accept, report).await;
    let chain = chain.map_err(|what| Failed::unsettled(transport.error(Error::failed(what))))?;
    report.say("certificate issued");
    Ok(chain)
}

/// Removes the record of an order that the CA refused. If that fails, the next run finds that the order is lost.
fn forget(account: &mut dyn AccountStore) {
    drop(account.save_order(None));
}
