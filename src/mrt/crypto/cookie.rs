//! Proof that a caller receives at the address it writes from, without keeping anything about it (compare RFC 9000 §8.1.2).

use crate::mrt::route::Route;
use crate::mrt::wire::packet::Cid;
use crate::time::{Duration, Instant};
use std::net::IpAddr;

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

    /// A cookie for whoever reads at the end of `route` and calls itself `from`.
    pub(crate) fn bake(&self, now: Instant, route: Route, from: Cid) -> Cookie {
        let time = now.as_millis().to_be_bytes();
        let mut cookie = [0; 40];
        let (head, tail) = cookie.split_at_mut(8);
        head.copy_from_slice(&time);
        tail.copy_from_slice(self.proof(time, route, from).as_bytes());
        cookie
    }

    /// Whether this is a cookie of ours, for this route and id, not too old.
    pub(crate) fn is_good(&self, now: Instant, route: Route, from: Cid, cookie: &[u8]) -> bool {
        let Some((time, proof)) = cookie.split_first_chunk() else { return false };
        let Ok(proof) = blake3::Hash::from_slice(proof) else { return false };
        let baked = Instant::from_start(Duration::from_millis(u64::from_be_bytes(*time)));
        // Comparing two BLAKE3 hashes takes the same time wherever they differ.
        baked <= now && now.saturating_since(baked) <= LIFETIME && self.proof(*time, route, from) == proof
    }

    fn proof(&self, time: [u8; 8], route: Route, from: Cid) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&time).update(&from.0.to_be_bytes());
        match route {
            Route::Udp { socket, remote } => {
                hasher.update(b"udp").update(&socket.0.to_be_bytes()).update(&remote.port().to_be_bytes());
                match remote.ip() {
                    IpAddr::V4(ip) => hasher.update(&ip.octets()),
                    IpAddr::V6(ip) => hasher.update(&ip.octets()),
                };
            }
            Route::Relayed { by, channel } => {
                hasher.update(b"relayed").update(&by.0.to_be_bytes()).update(&channel.0.to_be_bytes());
            }
        }
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::SocketId;
    use crate::mrt::api::ConnectionHandle;
    use crate::mrt::route::RelayChannel;
    use std::net::SocketAddr;

    #[test]
    fn a_cookie_is_good_for_one_route_one_id_and_a_short_time() {
        let jar = CookieJar::new([1; 32]);
        let at = |port| Route::from(SocketAddr::from(([192, 0, 2, 1], port)));
        let (here, there) = (at(5), at(6));
        let now = Instant::from_start(Duration::from_secs(100));
        let cookie = jar.bake(now, here, Cid(7));
        assert!(jar.is_good(now + LIFETIME, here, Cid(7), &cookie));
        assert!(!jar.is_good(now + LIFETIME + Duration::from_secs(1), here, Cid(7), &cookie));
        assert!(!jar.is_good(now - Duration::from_secs(1), here, Cid(7), &cookie), "from the future");
        assert!(!jar.is_good(now, there, Cid(7), &cookie));
        assert!(!jar.is_good(now, here, Cid(8), &cookie));
        let Route::Udp { remote, .. } = here else { panic!() };
        assert!(!jar.is_good(now, Route::Udp { socket: SocketId(1), remote }, Cid(7), &cookie));
        let relayed = |channel| Route::Relayed { by: ConnectionHandle(1), channel: RelayChannel(channel) };
        let cookie_there = jar.bake(now, relayed(1), Cid(7));
        assert!(jar.is_good(now, relayed(1), Cid(7), &cookie_there));
        assert!(!jar.is_good(now, relayed(2), Cid(7), &cookie_there));
        assert!(!jar.is_good(now, here, Cid(7), &cookie[..39]));
        assert!(!CookieJar::new([2; 32]).is_good(now, here, Cid(7), &cookie));
    }
}
