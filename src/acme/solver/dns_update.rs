//! The messages of dynamic DNS updates (RFC 2136) signed with TSIG (RFC 8945), to and from bytes. Nothing here sends.

use hickory_resolver::proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::TXT;
use hickory_resolver::proto::rr::rdata::tsig::{
    TSIG, TsigAlgorithm, TsigError, make_tsig_record, message_tbs,
};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::text;

/// How long others may cache the record, in seconds.
const TTL: u32 = 60;

/// How far the clocks of both sides may be apart, in seconds (RFC 8945 section 10).
const FUDGE: u16 = 300;

/// A key that both sides know.
pub(super) struct Key {
    name: Name,
    secret: Zeroizing<Vec<u8>>,
}

impl Key {
    pub(super) fn new(name: &str, secret: &[u8]) -> Result<Self> {
        Ok(Key { name: fqdn(name)?, secret: Zeroizing::new(secret.to_vec()) })
    }
}

/// What to do with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpdateAction {
    Add,
    /// Only this record: others of the same name stay.
    Delete,
}

/// An absolute name.
pub(super) fn fqdn(name: &str) -> Result<Name> {
    let parsed = Name::from_ascii(name).map_err(|error| {
        Error::usage("not a DNS name").at(text::escape(name)).because(anyhow::anyhow!("{error}"))
    })?;
    let mut parsed = parsed.to_lowercase();
    parsed.set_fqdn(true);
    Ok(parsed)
}

fn unusable(error: impl std::fmt::Display) -> Error {
    Error::failed("could not create the DNS message").because(anyhow::anyhow!("{error}"))
}

/// A signed update of the TXT record `name` = `value` in `zone`; `now` is in seconds since 1970. Its number, and the
/// bytes.
pub(super) fn update(
    zone: &Name,
    name: &Name,
    value: &str,
    action: UpdateAction,
    key: &Key,
    now: u64,
) -> Result<(u16, Vec<u8>)> {
    let mut message = Message::new(Message::query().metadata.id, MessageType::Query, OpCode::Update);
    message.add_query(Query::query(zone.clone(), RecordType::SOA));
    let text = RData::TXT(TXT::new(vec![value.to_owned()]));
    let mut record = Record::from_rdata(name.clone(), TTL, text);
    if action == UpdateAction::Delete {
        // RFC 2136 section 2.5.4.
        (record.dns_class, record.ttl) = (DNSClass::NONE, 0);
    }
    message.add_authority(record);
    let id = message.metadata.id;
    let unsigned = TSIG::new(TsigAlgorithm::HmacSha256, now, FUDGE, Vec::new(), id, None, Vec::new());
    let signed = message_tbs(&message, &unsigned, &key.name).map_err(unusable)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.secret).map_err(unusable)?;
    mac.update(&signed);
    let tsig = unsigned.set_mac(mac.finalize().into_bytes().to_vec());
    message.signature = Some(Box::new(make_tsig_record(key.name.clone(), tsig)));
    Ok((id, message.to_vec().map_err(unusable)?))
}

/// A question. Its number, and the bytes.
pub(super) fn question(name: &Name, kind: RecordType) -> Result<(u16, Vec<u8>)> {
    let mut message = Message::query();
    message.add_query(Query::query(name.clone(), kind));
    Ok((message.metadata.id, message.to_vec().map_err(unusable)?))
}

/// An answer to the message `id`; `None` for anything else that arrives.
pub(super) fn answer(bytes: &[u8], id: u16) -> Option<Message> {
    let message = Message::from_vec(bytes).ok()?;
    (message.metadata.id == id && message.metadata.message_type == MessageType::Response).then_some(message)
}

/// The zone of a name, from the answer to a question for its SOA record.
pub(super) fn zone_of(answer: &Message) -> Option<Name> {
    let mut records = answer.answers.iter().chain(&answer.authorities);
    records.find(|record| record.record_type() == RecordType::SOA).map(|record| record.name.clone())
}

/// The name that `name` is an alias of by the CNAMEs of an answer, the last in the chain; `None` if it is not an alias.
pub(super) fn target(answer: &Message, name: &Name) -> Option<Name> {
    let mut at = name.to_lowercase();
    // As many steps as records: a loop of them ends, too.
    for _ in &answer.answers {
        let next = answer.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name.to_lowercase() == at => Some(target.0.to_lowercase()),
            _ => None,
        });
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    (at != name.to_lowercase()).then_some(at)
}

/// Whether an answer has the TXT record.
pub(super) fn has_text(answer: &Message, value: &str) -> bool {
    answer.answers.iter().any(|record| match &record.data {
        RData::TXT(text) => text.txt_data.concat() == value.as_bytes(),
        _ => false,
    })
}

/// Why an update was refused, with a hint; `None` if it was not.
pub(super) fn refusal(answer: &Message) -> Option<(String, &'static str)> {
    let code = answer.metadata.response_code;
    if code == ResponseCode::NoError {
        return None;
    }
    let signature = answer.additionals.iter().find_map(|record| match &record.data {
        RData::TSIG(tsig) => tsig.error,
        _ => None,
    });
    let (why, hint) = match (signature, code) {
        (Some(TsigError::BadKey), _) => (
            "it does not know a key of this name",
            "check the name of the key, and that its algorithm is hmac-sha256",
        ),
        (Some(TsigError::BadSig), _) => ("the signature is wrong", "check the key's secret"),
        (Some(TsigError::BadTime), _) => (
            "the clocks are more than 5 minutes apart",
            "set the clock of this machine, or of the name server",
        ),
        (_, ResponseCode::Refused) => {
            ("it refuses", "the key must be allowed to change TXT records there (BIND: `update-policy`)")
        }
        (_, ResponseCode::NotAuth | ResponseCode::NotZone) => {
            ("it is not authoritative for the zone", "check the server and the zone")
        }
        (_, ResponseCode::NotImp) => {
            ("it does not accept updates", "is this the primary server of the zone?")
        }
        _ => ("it failed", "the server's log says why"),
    };
    Some((format!("{why} ({code})"), hint))
}

/// Reads a length-prefixed message (RFC 1035 section 4.2.2).
pub(super) fn framed(message: &[u8]) -> Result<Vec<u8>> {
    let length = u16::try_from(message.len()).map_err(unusable)?;
    Ok([&length.to_be_bytes()[..], message].concat())
}
