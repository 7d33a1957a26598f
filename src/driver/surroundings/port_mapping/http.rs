//! One small HTTP request to a gateway, and its answer: as much of RFC 9112 as those need.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Bytes of an answer, at most. A description of a gateway is some 10 kB.
const MAX_ANSWER: usize = 128 << 10;

/// How long a request takes, at most.
const PATIENCE: Duration = Duration::from_secs(3);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// 200 is good.
    pub(super) status: u16,
    /// As text; what is no UTF-8 is replaced.
    pub(super) body: String,
}

/// Sends `request`, a whole one, to `address`.
pub(super) async fn ask(address: SocketAddr, request: &str) -> io::Result<Answer> {
    timeout(PATIENCE, exchange(address, request)).await.map_err(|_| io::Error::from(ErrorKind::TimedOut))?
}

async fn exchange(address: SocketAddr, request: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    let mut some = [0; 4096];
    loop {
        // Asked to close, some servers do not: then the length says where the end is.
        if let Some(answer) = parse(&bytes, false) {
            return Ok(answer);
        }
        let count = stream.read(&mut some).await?;
        if count == 0 {
            return parse(&bytes, true).ok_or_else(|| ErrorKind::InvalidData.into());
        }
        bytes.extend_from_slice(some.get(..count).unwrap_or_default());
        if bytes.len() > MAX_ANSWER {
            return Err(ErrorKind::InvalidData.into());
        }
    }
}

/// The answer, if it is all there; `closed`: nothing more will come.
fn parse(bytes: &[u8], closed: bool) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, rest) = bytes.split_at(end);
    let body = rest.get(4..)?;
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let mut length = None;
    let mut is_chunked = false;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse::<usize>().ok();
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            is_chunked = value.trim().eq_ignore_ascii_case("chunked");
        }
    }
    let whole = match (is_chunked, length) {
        (true, _) => unchunk(body)?,
        // Cut short: what there is may do.
        (false, Some(length)) => body.get(..length).or(closed.then_some(body))?.to_vec(),
        (false, None) => closed.then(|| body.to_vec())?,
    };
    Some(Answer { status, body: String::from_utf8_lossy(&whole).into_owned() })
}

/// The contents of all chunks (RFC 9112 §7.1), if the last one is there.
fn unchunk(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let line = std::str::from_utf8(bytes.get(..end)?).ok()?;
        let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        let start = end + 2;
        let stop = start.checked_add(size)?;
        whole.extend_from_slice(bytes.get(start..stop)?);
        bytes = bytes.get(stop..)?.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(status: u16, body: &str) -> Option<Answer> {
        Some(Answer { status, body: body.to_owned() })
    }

    #[test]
    fn an_answer_ends_where_it_says() {
        let by_length = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 5\r\n\r\nhelloXX";
        assert_eq!(parse(by_length, false), answer(200, "hello"));
        assert_eq!(parse(&by_length[..40], false), None, "not all there");
        let by_closing = b"HTTP/1.0 500 No\r\nServer: x\r\n\r\nfault";
        assert_eq!((parse(by_closing, false), parse(by_closing, true)), (None, answer(500, "fault")));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=1\r\nhello\r\n1\r\n!\r\n0\r\n\r\n";
        assert_eq!(parse(chunked, false), answer(200, "hello!"));
        for bad in ["", "nonsense\r\n\r\n", "HTTP/1.1 x\r\n\r\n", "HTTP/1.1 99999999 OK\r\n\r\n"] {
            assert_eq!(parse(bad.as_bytes(), true), None, "{bad}");
        }
        let endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhello";
        assert_eq!(parse(endless, true), None);
    }

    proptest! {
        #[test]
        fn no_answer_is_trouble(bytes in prop::collection::vec(any::<u8>(), 0..300), closed: bool) {
            let _ = parse(&bytes, closed);
            let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            chunked.extend(&bytes);
            let _ = parse(&chunked, closed);
        }
    }
}
