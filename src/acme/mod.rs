//! Certificates from an ACME server (RFC 8555): account, order, challenges, finalisation.
//!
//! Every byte goes through our own HTTP client (`transport`), which lets no request leave the directory's origin. What a
//! server sends is checked here before a file, a hook or a listener sees it (threat T20). Must not judge the certificate that comes back (the caller does), make the
//! certificate's key, or write anything but a webroot's challenge files.

mod account;
mod account_file;
mod chain;
mod check;
mod choice;
mod identifier;
mod messages;
mod order;
mod pause;
mod problem;
mod resume;
mod settings;
mod solver;
mod transport;
mod validation;
mod waiting;

use zeroize::Zeroizing;

pub use self::chain::Accept;
pub(crate) use self::choice::ChallengeSetup;
pub use self::resume::KeptOrder;
pub use self::settings::{AcmeSettings, ChallengeType, DnsSolver, Eab, Rfc2136};

use self::order::{PlacedOrder, Terms};
use self::resume::Resumed;
use self::solver::Solvers;
use self::transport::Transport;
use crate::cert::{Certificate, SubjectAltName};
use crate::error::{Error, ErrorKind, Result};
use crate::net::Client;

/// Where the account's key is kept between runs: a file of ours, 0600, for the server's directory; and who writes down that
/// a request is on its way.
///
/// What is kept is text: a PKCS#8 key in PEM with the directory's and the account's URL above it, so that OpenSSL reads
/// it as well. A PEM key of an account that other software made is understood too.
pub trait AccountStore {
    /// Where it is, for messages.
    fn place(&self) -> String;
    /// What was saved last; `None` if nothing was.
    fn load(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>>;
    /// Makes sure that [`AccountStore::save`] will work: asked before an account is made, which may be possible once
    /// only. Changes nothing.
    fn prepare(&mut self) -> Result<()>;
    /// Keeps what was saved last under another name beside it, too, so that it outlives the next save; says where.
    /// `None` if nothing was saved.
    fn set_aside(&mut self) -> Result<Option<String>>;
    /// Keeps `content` in place of what was there, on disk when this returns.
    fn save(&mut self, content: &[u8]) -> Result<()>;
    /// The order in progress that was kept last; `None` if there is none, or what is there cannot be used.
    fn order(&mut self) -> Result<Option<KeptOrder>>;
    /// Keeps `order` in place of what was there, on disk when this returns; `None` removes it. The caller of [`obtain`]
    /// removes it as well once it keeps the certificate.
    fn save_order(&mut self, order: Option<&KeptOrder>) -> Result<()>;
    /// Hears, right before the certificate's request is sent, that the CA may issue from now on. An error ends it.
    fn before_request(&mut self) -> Result<()>;
}

/// Who is told what goes on, a line at a time.
#[derive(Clone, Copy)]
pub struct Report<'a> {
    /// The stages.
    pub say: &'a dyn Fn(&str),
    /// What is not as it should be, and does not end it.
    pub warn: &'a dyn Fn(&str),
}

impl Report<'_> {
    fn say(&self, line: &str) {
        (self.say)(line);
    }

    fn warn(&self, line: &str) {
        (self.warn)(line);
    }
}

/// Why there is no certificate.
#[derive(Debug)]
pub struct Failed {
    /// What to tell.
    pub error: Error,
    /// Whether the server was not there at all, so that all of it may be tried again.
    pub(crate) again: bool,
    /// Whether the CA may have issued a certificate all the same: it got the request, and did not refuse it.
    pub(crate) unsettled: bool,
}

impl From<Error> for Failed {
    /// Trying again changes nothing.
    fn from(error: Error) -> Self {
        Failed { error, again: false, unsettled: false }
    }
}

impl Failed {
    /// The CA has the request, and nobody knows what it made of it.
    fn unsettled(error: Error) -> Self {
        Failed { unsettled: true, ..error.into() }
    }
}

/// Gets a certificate for `names` with the request `csr_der` (PKCS#10, DER, without a CN): leaf first, then what the
/// server sent behind it. Of the chains that the server offers, one that `accept` takes; if there is none, the server's own.
/// An order of an earlier run is resumed; `accept` has to refuse a certificate for another key than the request's.
/// `report` gets a line for each stage. Bounded by the client's deadline. What was put
/// up for a challenge is taken away before this returns, and where it is dropped before, without a word.
///
/// # Errors
/// `Usage` for names and settings that do not go together, `NotTrusted` where the CA refuses, `Unreachable` where it does
/// not answer or validate in time.
pub async fn obtain(
    client: &Client,
    settings: &AcmeSettings,
    account: &mut dyn AccountStore,
    names: &[SubjectAltName],
    csr_der: &[u8],
    accept: &Accept<'_>,
    report: &Report<'_>,
) -> Result<Vec<Certificate>, Failed> {
    let identifiers = identifier::identifiers(names)?;
    settings.check(names)?;
    let mut solvers = Solvers::new(client, settings)?;
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

/// Removes the record of an order that the CA refused. One that cannot be removed is found to be lost by the next run.
fn forget(account: &mut dyn AccountStore) {
    drop(account.save_order(None));
}
