//! What each side tells the other about its limits, sealed inside the handshake.

use crate::mrt::wire::reader::Reader;
use crate::mrt::wire::varint;
use crate::mrt::wire::{Cid, Malformed};

/// One side's limits (compare RFC 9000 §18).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parameters {
    /// The id that its packets are to carry. The same stands in front of the message, where anyone on the way can change it.
    pub(crate) cid: Cid,
    /// Bytes that may be sent to it over all channels before it gives more credit.
    pub(crate) connection_credit: u64,
    /// The same for each channel.
    pub(crate) channel_credit: u64,
    /// Channels of each class that may be opened towards it before it allows more.
    pub(crate) channels: u64,
    /// The largest UDP payload it takes, in bytes.
    pub(crate) max_datagram: u64,
    /// Whether it would rather use AES.
    pub(crate) prefers_aes: bool,
}

impl Parameters {
    pub(crate) fn emit(&self, buffer: &mut Vec<u8>) {
        buffer.push(u8::from(self.prefers_aes));
        buffer.extend_from_slice(&self.cid.0.to_be_bytes());
        for value in [self.connection_credit, self.channel_credit, self.channels, self.max_datagram] {
            varint::put(buffer, value);
        }
    }

    /// Bytes behind the known fields are ignored: a later version may say more.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let flags = reader.u8()?;
        let parameters = Self {
            prefers_aes: flags & 1 != 0,
            cid: Cid(reader.u64()?),
            connection_credit: reader.varint()?,
            channel_credit: reader.varint()?,
            channels: reader.varint()?,
            max_datagram: reader.varint()?,
        };
        match parameters.max_datagram {
            ..1200 => Err(Malformed("a datagram limit below 1200 bytes")),
            _ => Ok(parameters),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_read_back_and_later_fields_are_ignored() {
        let parameters = Parameters {
            cid: Cid(0x0123_4567_89ab_cdef),
            connection_credit: 1 << 20,
            channel_credit: 77,
            channels: 3,
            max_datagram: 1452,
            prefers_aes: true,
        };
        let mut bytes = Vec::new();
        parameters.emit(&mut bytes);
        bytes.extend_from_slice(b"from the future");
        assert_eq!(Parameters::parse(&bytes), Ok(parameters));
    }
}
