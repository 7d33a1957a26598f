//! What messages mean: a question, its two kinds of answer, and a probe.

use super::attribute::{
    CHANGE_REQUEST, CHANGED_ADDRESS, COMPREHENSION_OPTIONAL, Change, ERROR_CODE, FINGERPRINT, MAPPED_ADDRESS,
    OTHER_ADDRESS, RESPONSE_ORIGIN, RESPONSE_PORT, SOURCE_ADDRESS, UNKNOWN_ATTRIBUTES, XOR_MAPPED_ADDRESS,
    address_value, codec_id, error_value, parse_address, parse_error, parse_port, parse_xored, port_value, xored_value,
};
use super::view::{BINDING, Class, FINGERPRINT_MASK, TransactionId, View};
use bytecodec::EncodeExt as _;
use core::fmt;
use smallvec::SmallVec;
use std::net::SocketAddr;
use stun_codec::rfc5389::methods::BINDING as BINDING_METHOD;
use stun_codec::{AttributeType, Message, MessageClass, MessageEncoder, RawAttribute};

/// Unknown attributes that an error names, at most, so that it does not grow with the question.
const MAX_UNKNOWN: usize = 8;

/// "Which address do you see?"
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// The transaction.
    pub id: TransactionId,
    /// From where the answer is wanted.
    pub change: Change,
    /// To which port of ours, if not to the one that asks (RFC 5780 §7.5).
    pub response_port: Option<u16>,
}

/// "This one."
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Success {
    /// The transaction.
    pub id: TransactionId,
    /// The address that the server saw.
    pub mapped: SocketAddr,
    /// The address that the answer was sent from, says the server (RFC 5780 §7.3).
    pub origin: Option<SocketAddr>,
    /// The server's other address, with its other port (RFC 5780 §7.4).
    pub other: Option<SocketAddr>,
}

/// "No."
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Failure {
    /// The transaction.
    pub id: TransactionId,
    /// Why: 400 malformed, 420 unknown attributes, others we do not say (RFC 8489 §14.8).
    pub code: u16,
    /// The unknown attributes, for 420.
    pub unknown: Unknown,
}

/// "Something comes through": a Binding indication, which wants no answer. What a NAT lets in is measured with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Probe {
    /// What tells it from others' probes: as long and as unguessable as a transaction's id.
    pub token: TransactionId,
}

/// Types of attributes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Unknown(pub SmallVec<[u16; MAX_UNKNOWN]>);

/// Why a request is not answered as it wants. It gets a [`Failure`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// It has attributes that have to be understood, and are not.
    Unknown(Unknown),
    /// The value of an attribute is not of its form.
    Bad,
}

/// Why an answer is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It has an attribute that has to be understood, and is not.
    Unknown,
    /// It says no address, or no error.
    Empty,
    /// The value of an attribute is not of its form: its length, its family.
    Bad,
    /// It says two addresses that differ.
    Contradiction,
}

impl Request {
    /// A plain question.
    pub const fn new(id: TransactionId) -> Self {
        Self { id, change: Change::NONE, response_port: None }
    }

    /// Reads a Binding request. RFC 8489 §14: of attributes that come twice the first counts.
    pub fn parse(view: &View<'_>) -> Result<Self, Rejected> {
        let mut request = Self::new(view.id);
        let mut change = None;
        let mut unknown = Unknown::default();
        for (kind, value) in view.attributes() {
            match kind {
                CHANGE_REQUEST if change.is_none() => change = Some(Change::parse(value).ok_or(Rejected::Bad)?),
                RESPONSE_PORT if request.response_port.is_none() => {
                    request.response_port = Some(parse_port(value).filter(|port| *port != 0).ok_or(Rejected::Bad)?);
                }
                CHANGE_REQUEST | RESPONSE_PORT | COMPREHENSION_OPTIONAL.. => {}
                _ => unknown.note(kind),
            }
        }
        if !unknown.0.is_empty() {
            return Err(Rejected::Unknown(unknown));
        }
        request.change = change.unwrap_or_default();
        Ok(request)
    }

    /// The bytes.
    pub fn emit(&self) -> Vec<u8> {
        let mut message = message(MessageClass::Request, self.id);
        if self.change != Change::NONE {
            add(&mut message, CHANGE_REQUEST, self.change.value());
        }
        if let Some(port) = self.response_port {
            add(&mut message, RESPONSE_PORT, port_value(port));
        }
        finish(message)
    }
}

impl Success {
    /// Reads a Binding success response. XOR-MAPPED-ADDRESS counts before MAPPED-ADDRESS, which some NATs rewrite on its way
    /// (RFC 8489 §14.2).
    pub fn parse(view: &View<'_>) -> Result<Self, Flaw> {
        let (mut mapped, mut xored, mut origin, mut other) = (None, None, None, None);
        for (kind, value) in view.attributes() {
            let (place, address) = match kind {
                XOR_MAPPED_ADDRESS => (&mut xored, parse_xored(value, view.id)),
                MAPPED_ADDRESS => (&mut mapped, parse_address(value)),
                RESPONSE_ORIGIN => (&mut origin, parse_address(value)),
                OTHER_ADDRESS => (&mut other, parse_address(value)),
                SOURCE_ADDRESS | CHANGED_ADDRESS | COMPREHENSION_OPTIONAL.. => continue,
                _ => return Err(Flaw::Unknown),
            };
            let address = address.ok_or(Flaw::Bad)?;
            if place.replace(address).is_some_and(|before| before != address) {
                return Err(Flaw::Contradiction);
            }
        }
        let mapped = xored.or(mapped).ok_or(Flaw::Empty)?;
        Ok(Self { id: view.id, mapped, origin, other })
    }

    /// The bytes.
    pub fn emit(&self) -> Vec<u8> {
        let mut message = message(MessageClass::SuccessResponse, self.id);
        add(&mut message, XOR_MAPPED_ADDRESS, xored_value(self.mapped, self.id));
        if let Some(origin) = self.origin {
            add(&mut message, RESPONSE_ORIGIN, address_value(origin));
        }
        if let Some(other) = self.other {
            add(&mut message, OTHER_ADDRESS, address_value(other));
        }
        finish(message)
    }
}

impl Failure {
    /// Reads a Binding error response.
    pub fn parse(view: &View<'_>) -> Result<Self, Flaw> {
        let (mut code, mut unknown) = (None, Unknown::default());
        for (kind, value) in view.attributes() {
            match kind {
                ERROR_CODE if code.is_none() => code = Some(parse_error(value).ok_or(Flaw::Bad)?),
                UNKNOWN_ATTRIBUTES => {
                    let (pairs, _) = value.as_chunks::<2>();
                    pairs.iter().for_each(|pair| unknown.note(u16::from_be_bytes(*pair)));
                }
                ERROR_CODE | SOURCE_ADDRESS | CHANGED_ADDRESS | COMPREHENSION_OPTIONAL.. => {}
                _ => return Err(Flaw::Unknown),
            }
        }
        Ok(Self { id: view.id, code: code.ok_or(Flaw::Empty)?, unknown })
    }

    /// The bytes. Without a reason in words: nobody reads it.
    pub fn emit(&self) -> Vec<u8> {
        let mut message = message(MessageClass::ErrorResponse, self.id);
        add(&mut message, ERROR_CODE, error_value(self.code, ""));
        if !self.unknown.0.is_empty() {
            let types = self.unknown.0.iter().flat_map(|kind| kind.to_be_bytes()).collect();
            add(&mut message, UNKNOWN_ATTRIBUTES, types);
        }
        finish(message)
    }
}

impl Probe {
    /// Reads a Binding indication. Its attributes mean nothing to us.
    pub fn parse(view: &View<'_>) -> Option<Self> {
        (view.class == Class::Indication && view.method == BINDING).then_some(Self { token: view.id })
    }

    /// The bytes: 28 of them.
    pub fn emit(&self) -> Vec<u8> {
        finish(message(MessageClass::Indication, self.token))
    }
}

impl Unknown {
    /// Remembers a type, if there is room.
    fn note(&mut self, kind: u16) {
        if self.0.len() < MAX_UNKNOWN && !self.0.contains(&kind) {
            self.0.push(kind);
        }
    }

    /// A single one: CHANGE-REQUEST, asked of a server that has no other address.
    pub(crate) fn change_request() -> Self {
        Self(SmallVec::from_slice(&[CHANGE_REQUEST]))
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "binding request {:?}", self.id)?;
        f.write_str(match (self.change.ip, self.change.port) {
            (false, false) => "",
            (true, false) => " change ip",
            (false, true) => " change port",
            (true, true) => " change ip and port",
        })?;
        self.response_port.map_or(Ok(()), |port| write!(f, " to port {port}"))
    }
}

impl fmt::Display for Success {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "binding success {:?} {}", self.id, self.mapped)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "binding error {:?} {}", self.id, self.code)
    }
}

fn message(class: MessageClass, id: TransactionId) -> Message<RawAttribute> {
    Message::new(class, BINDING_METHOD, codec_id(id))
}

fn add(message: &mut Message<RawAttribute>, kind: u16, value: Vec<u8>) {
    message.add_attribute(RawAttribute::new(AttributeType::new(kind), value));
}

/// Adds FINGERPRINT (RFC 8489 §14.7): the CRC is over a message whose length counts it already.
fn finish(message: Message<RawAttribute>) -> Vec<u8> {
    const PLACEHOLDER: [u8; 4] = [0; 4];
    let mut message = message;
    add(&mut message, FINGERPRINT, PLACEHOLDER.to_vec());
    // It refuses only what is longer than 64 KiB, and ours has five attributes at most.
    let mut bytes = MessageEncoder::new().encode_into_bytes(message).unwrap_or_default();
    bytes.truncate(bytes.len().saturating_sub(PLACEHOLDER.len()));
    let before = bytes.get(..bytes.len().saturating_sub(PLACEHOLDER.len())).unwrap_or_default();
    let crc = crc32fast::hash(before) ^ FINGERPRINT_MASK;
    bytes.extend_from_slice(&crc.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytecodec::DecodeExt as _;
    use proptest::prelude::*;
    use std::net::IpAddr;
    use stun_codec::MessageDecoder;
    use stun_codec::rfc5389::attributes::XorMappedAddress;
    use stun_codec::rfc5780::attributes::{OtherAddress, ResponseOrigin};

    const ID: TransactionId = TransactionId(*b"abcdefghijkl");

    fn address() -> impl Strategy<Value = SocketAddr> {
        (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip.to_canonical(), port))
    }

    fn view(bytes: &[u8]) -> View<'_> {
        View::check(bytes).unwrap()
    }

    /// Puts attributes into a message, and its length right.
    fn with(kind: [u8; 2], attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (kind, value) in attributes {
            body.extend(kind.to_be_bytes());
            body.extend((value.len() as u16).to_be_bytes());
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut bytes = kind.to_vec();
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(0x2112_A442_u32.to_be_bytes());
        bytes.extend(ID.0);
        bytes.extend(body);
        bytes
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            id: [u8; 12], ip: bool, port: bool, response_port in proptest::option::of(1_u16..), mapped in address(),
            origin in proptest::option::of(address()), other in proptest::option::of(address()),
            code in 300_u16..700, kinds in proptest::collection::vec(0_u16.., 0..12),
        ) {
            let id = TransactionId(id);
            let request = Request { id, change: Change { ip, port }, response_port };
            prop_assert_eq!(Request::parse(&view(&request.emit())), Ok(request));
            let success = Success { id, mapped, origin, other };
            prop_assert_eq!(Success::parse(&view(&success.emit())), Ok(success));
            let mut unknown = Unknown::default();
            kinds.iter().for_each(|kind| unknown.note(*kind));
            let failure = Failure { id, code, unknown };
            prop_assert_eq!(Failure::parse(&view(&failure.emit())), Ok(failure));
            prop_assert_eq!(Probe::parse(&view(&Probe { token: id }.emit())), Some(Probe { token: id }));
        }

        /// The other reader of our bytes: the library's own decoders.
        #[test]
        fn our_answers_mean_the_same_to_the_library(mapped in address(), other in address()) {
            stun_codec::define_attribute_enums!(
                Known, KnownDecoder, KnownEncoder, [XorMappedAddress, ResponseOrigin, OtherAddress]
            );
            let bytes = Success { id: ID, mapped, origin: Some(mapped), other: Some(other) }.emit();
            let decoded = MessageDecoder::<Known>::new().decode_from_bytes(&bytes).unwrap().unwrap();
            prop_assert_eq!(decoded.get_attribute::<XorMappedAddress>().unwrap().address(), mapped);
            prop_assert_eq!(decoded.get_attribute::<ResponseOrigin>().unwrap().address(), mapped);
            prop_assert_eq!(decoded.get_attribute::<OtherAddress>().unwrap().address(), other);
        }
    }

    #[test]
    fn a_request_with_attributes_that_must_be_understood_and_are_not_is_rejected_by_name() {
        let rejected = |attributes: &[(u16, &[u8])]| Request::parse(&view(&with([0, 1], attributes))).unwrap_err();
        let types = |types: &[u16]| Rejected::Unknown(Unknown(SmallVec::from_slice(types)));
        assert_eq!(rejected(&[(0x0026, &[0; 64]), (0x0006, b"user")]), types(&[0x26, 6]));
        assert_eq!(rejected(&[(CHANGE_REQUEST, &[0; 3])]), Rejected::Bad);
        assert_eq!(rejected(&[(RESPONSE_PORT, &[0; 4])]), Rejected::Bad);
        // As many as there are: an answer names eight.
        let many: Vec<(u16, &[u8])> = (0x100..0x180).map(|kind| (kind, &[][..])).collect();
        let Rejected::Unknown(unknown) = rejected(&many) else { panic!() };
        assert_eq!(unknown.0.len(), MAX_UNKNOWN);
        // SOFTWARE, PRIORITY's optional neighbours: whoever does not know them may go on.
        assert_eq!(Request::parse(&view(&with([0, 1], &[(0x8022, b"who"), (0xC000, &[])]))), Ok(Request::new(ID)));
    }

    #[test]
    fn an_answer_says_one_address_or_is_none() {
        let parse = |attributes: &[(u16, &[u8])]| Success::parse(&view(&with([1, 1], attributes)));
        let one: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        let two: SocketAddr = "192.0.2.2:5000".parse().unwrap();
        let (plain, other) = (address_value(one), address_value(two));
        let (xored, other_xored) = (xored_value(one, ID), xored_value(two, ID));
        let mapped = |attributes: &[(u16, &[u8])]| parse(attributes).map(|success| success.mapped);
        assert_eq!(mapped(&[(MAPPED_ADDRESS, &plain)]), Ok(one));
        // A NAT that rewrites addresses in what it carries does not find the other one.
        assert_eq!(mapped(&[(MAPPED_ADDRESS, &other), (XOR_MAPPED_ADDRESS, &xored)]), Ok(one));
        assert_eq!(mapped(&[(XOR_MAPPED_ADDRESS, &xored), (XOR_MAPPED_ADDRESS, &xored)]), Ok(one));
        // What servers of RFC 3489 say besides.
        assert_eq!(mapped(&[(MAPPED_ADDRESS, &plain), (SOURCE_ADDRESS, &other), (CHANGED_ADDRESS, &other)]), Ok(one));

        assert_eq!(
            mapped(&[(XOR_MAPPED_ADDRESS, &xored), (XOR_MAPPED_ADDRESS, &other_xored)]),
            Err(Flaw::Contradiction)
        );
        assert_eq!(mapped(&[(MAPPED_ADDRESS, &plain), (MAPPED_ADDRESS, &other)]), Err(Flaw::Contradiction));
        assert_eq!(mapped(&[]), Err(Flaw::Empty));
        assert_eq!(mapped(&[(XOR_MAPPED_ADDRESS, &xored), (0x0008, &[0; 20])]), Err(Flaw::Unknown));
        assert_eq!(mapped(&[(XOR_MAPPED_ADDRESS, &xored[..7])]), Err(Flaw::Bad));
        assert_eq!(mapped(&[(XOR_MAPPED_ADDRESS, &[0, 9, 0, 1, 1, 2, 3, 4])]), Err(Flaw::Bad));
        assert_eq!(mapped(&[(XOR_MAPPED_ADDRESS, &xored), (OTHER_ADDRESS, &[0, 1])]), Err(Flaw::Bad));
    }

    #[test]
    fn an_error_without_a_code_is_none() {
        let parse = |attributes: &[(u16, &[u8])]| Failure::parse(&view(&with([1, 0x11], attributes)));
        assert_eq!(parse(&[(ERROR_CODE, &[0, 0, 4, 20])]).map(|failure| failure.code), Ok(420));
        assert_eq!(parse(&[]), Err(Flaw::Empty));
        assert_eq!(parse(&[(ERROR_CODE, &[0, 0, 9, 20])]), Err(Flaw::Bad));
        assert_eq!(parse(&[(ERROR_CODE, &[0, 0, 4, 20]), (XOR_MAPPED_ADDRESS, &[0; 8])]), Err(Flaw::Unknown));
    }
}
