//! Proof that a caller receives at the address it writes from, without keeping anything about it (compare RFC 9000 §8.1.2).

use crate::mrt::wire::packet::Cid;
use crate::time::{Duration, Instant};
use std::net::{IpAddr, SocketAddr};

/// How long a cookie is good for: a few round trips of the slowest link, with losses.
const LIFETIME: Duration = Duration::from_secs(30);

/// Makes and checks cookies. Its key never leaves it.
pub(crate) struct CookieJar {
    key: [u8; 32],
}

/// A cookie: eight bytes of time, sixteen of proof.
pub(crate) type Cookie = [u8; 24];

impl CookieJar {
    pub(crate) const fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// A cookie for whoever reads at `address` and calls itself `from`.
    pub(crate) fn bake(&self, now: Instant, address: SocketAddr, from: Cid) -> Cookie {
        let time = now.as_millis().to_be_bytes();
        let mut cookie = [0; 24];
        let (head, tail) = cookie.split_at_mut(8);
        head.copy_from_slice(&time);
        tail.copy_from_slice(&self.proof(time, address, from));
        cookie
    }

    /// Whether this is a cookie of ours, for this address and id, not too old.
    pub(crate) fn is_good(&self, now: Instant, address: SocketAddr, from: Cid, cookie: &[u8]) -> bool {
        let Ok(cookie) = Cookie::try_from(cookie) else { return false };
        let mut time = [0; 8];
        time.copy_from_slice(cookie.split_at(8).0);
        let baked = Instant::from_start(Duration::from_millis(u64::from_be_bytes(time)));

        baked <= now
            && now.saturating_since(baked) <= LIFETIME
            && ring::constant_time::verify_slices_are_equal(&self.proof(time, address, from), cookie.split_at(8).1)
                .is_ok()
    }

    fn proof(&self, time: [u8; 8], address: SocketAddr, from: Cid) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&time).update(&from.0.to_be_bytes()).update(&address.port().to_be_bytes());
        match address.ip() {
            IpAddr::V4(ip) => hasher.update(&ip.octets()),
            IpAddr::V6(ip) => hasher.update(&ip.octets()),
        };
        let mut proof = [0; 16];
        hasher.finalize_xof().fill(&mut proof);
        proof
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_good_for_one_address_one_id_and_a_short_time() {
        let jar = CookieJar::new([1; 32]);
        let (here, there) = (SocketAddr::from(([192, 0, 2, 1], 5)), SocketAddr::from(([192, 0, 2, 1], 6)));
        let now = Instant::from_start(Duration::from_secs(100));
        let cookie = jar.bake(now, here, Cid(7));
        assert!(jar.is_good(now + LIFETIME, here, Cid(7), &cookie));
        assert!(!jar.is_good(now + LIFETIME + Duration::from_secs(1), here, Cid(7), &cookie));
        assert!(!jar.is_good(now - Duration::from_secs(1), here, Cid(7), &cookie), "from the future");
        assert!(!jar.is_good(now, there, Cid(7), &cookie));
        assert!(!jar.is_good(now, here, Cid(8), &cookie));
        assert!(!jar.is_good(now, here, Cid(7), &cookie[..23]));
        assert!(!CookieJar::new([2; 32]).is_good(now, here, Cid(7), &cookie));
    }
}
