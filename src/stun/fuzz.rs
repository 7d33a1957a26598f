//! Entry points for fuzzing: whatever bytes they get, they return, or an assertion names what is broken.
//!
//! As in [`mrt::fuzz`](crate::mrt): the printer is fuzzed with the parser, and each says whether the bytes got past the first checks.

use super::message::{BINDING, Class, Failure, HEADER_LEN, MAX_LEN, Probe, Request, Success, View};

/// A datagram as [`View::check`] gets it: as it is, and with cookie and length put right, which random bytes never have.
pub fn message(data: &[u8]) -> bool {
    let mut fixed = data.to_vec();
    fixed.truncate(MAX_LEN);
    fixed.resize(fixed.len().max(HEADER_LEN).next_multiple_of(4), 0);
    let length = u16::try_from(fixed.len().saturating_sub(HEADER_LEN)).unwrap_or(u16::MAX);
    let head = [length.to_be_bytes(), [0x21, 0x12], [0xA4, 0x42]].concat();
    fixed.splice(2..8, head);
    if let Some(first) = fixed.first_mut() {
        *first &= 0x3F;
    }
    let checked = [data, &fixed].map(|datagram| View::check(datagram).is_ok_and(|view| reread(&view, datagram)));
    checked.contains(&true)
}

/// What parses is emitted again, is no longer than what had to be read to know it, and means the same.
fn reread(view: &View<'_>, datagram: &[u8]) -> bool {
    assert!(datagram.len() <= MAX_LEN, "{view}");
    let attributes = view.attributes().map(|(_, value)| value.len().next_multiple_of(4).saturating_add(4));
    assert!(attributes.sum::<usize>() <= datagram.len().saturating_sub(HEADER_LEN), "{view}");
    if view.method != BINDING {
        return true;
    }
    match view.class {
        Class::Request => {
            if let Ok(request) = Request::parse(view) {
                let bytes = request.emit();
                assert_eq!(View::check(&bytes).map(|view| Request::parse(&view)), Ok(Ok(request)), "{request}");
            }
        }
        Class::Success => {
            if let Ok(success) = Success::parse(view) {
                let bytes = success.emit();
                let again = View::check(&bytes).map(|view| Success::parse(&view));
                // The other form of an IPv4 address is not written.
                let is_canonical = [Some(success.mapped), success.origin, success.other]
                    .iter()
                    .flatten()
                    .all(|address| address.ip() == address.ip().to_canonical());
                assert!(again.is_ok_and(|again| again == Ok(success) || !is_canonical && again.is_ok()), "{success}");
            }
        }
        Class::Error => {
            if let Ok(failure) = Failure::parse(view) {
                let bytes = failure.emit();
                assert_eq!(View::check(&bytes).map(|view| Failure::parse(&view)), Ok(Ok(failure.clone())), "{failure}");
            }
        }
        Class::Indication => {
            let probe = Probe::parse(view);
            let bytes = probe.map(|probe| probe.emit()).unwrap_or_default();
            assert_eq!(View::check(&bytes).map(|view| Probe::parse(&view)), Ok(probe));
        }
    }
    true
}
