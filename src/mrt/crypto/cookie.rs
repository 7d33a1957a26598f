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

/// A cookie: eight bytes of time, 32 of proof.
pub(crate) type Cookie = [u8; 40];

impl CookieJar {
    pub(crate) const fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// A cookie for whoever reads at `address` and calls itself `from`.
    pub(crate) fn bake(&self, now: Instant, address: SocketAddr, from: Cid) -> Cookie {
        let time = now.as_millis().to_be_bytes();
        let mut cookie = [0; 40];
        let (head, tail) = cookie.split_at_mut(8);
        head.copy_from_slice(&time);
        tail.copy_from_slice(self.proof(time, address, from).as_bytes());
        cookie
    }

    /// Whether this is a cookie of ours, for this address and id, not too old.
    pub(crate) fn is_good(&self, now: Instant, address: SocketAddr, from: Cid, cookie: &[u8]) -> bool {
        let Some((time, proof)) = cookie.split_first_chunk() else { return false };
        let Ok(proof) = blake3::Hash::from_slice(proof) else { return false };
        let baked = Instant::from_start(Duration::from_millis(u64::from_be_bytes(*time)));
        // Comparing two BLAKE3 hashes takes the same time wherever they differ.
        baked <= now && now.saturating_since(baked) <= LIFETIME && self.proof(*time, address, from) == proof
    }

    fn proof(&self, time: [u8; 8], address: SocketAddr, from: Cid) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&time).update(&from.0.to_be_bytes()).update(&address.port().to_be_bytes());
        match address.ip() {
            IpAddr::V4(ip) => hasher.update(&ip.octets()),
            IpAddr::V6(ip) => hasher.update(&ip.octets()),
        };
        hasher.finalize()
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
        assert!(!jar.is_good(now, here, Cid(7), &cookie[..39]));
        assert!(!CookieJar::new([2; 32]).is_good(now, here, Cid(7), &cookie));
    }
}
