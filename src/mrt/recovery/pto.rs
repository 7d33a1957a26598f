//! The probe timeout (RFC 9002 §6.2): how long to wait for an acknowledgement before asking for one.

use super::rtt::{GRANULARITY, Rtt};
use crate::time::Duration;

/// Doubling stops here, or at twice the first timeout if that is longer. Reason: at 50 % loss a probe and its answer get
/// through one time in four, so that a connection needs many probes; with RFC 9002's unlimited doubling the eighth one waits
/// for half a minute, and one handshake in five never finishes before everybody gives up. One probe of a few dozen bytes a
/// second cannot congest a path, and a path that is merely slower than thought is still covered by the factor two.
pub const MAX_BACKED_OFF: Duration = Duration::from_secs(1);

/// How long after the last ack-eliciting packet to send a probe, when `consecutive` probes went unanswered before.
/// `max_ack_delay` is zero where the peer answers at once (during the handshake).
pub fn probe_timeout(rtt: &Rtt, max_ack_delay: Duration, consecutive: u32) -> Duration {
    // RFC 9002 §6.2.1: PTO = smoothed_rtt + max(4 · rttvar, kGranularity) + max_ack_delay
    let single =
        rtt.smoothed().saturating_add(rtt.variance().saturating_mul(4).max(GRANULARITY)).saturating_add(max_ack_delay);
    let factor = 1u32.checked_shl(consecutive).unwrap_or(u32::MAX);
    let cap = single.saturating_mul(2).max(MAX_BACKED_OFF);
    single.saturating_mul(factor).min(cap)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn measured(rtt_ms: u64) -> Rtt {
        let mut rtt = Rtt::default();
        rtt.update(Instant::ZERO, ms(rtt_ms), Duration::ZERO);
        rtt
    }

    #[test]
    fn it_is_the_round_trip_and_four_deviations_and_the_peers_delay() {
        assert_eq!(probe_timeout(&measured(40), ms(25), 0), ms(40 + 4 * 20 + 25));
        assert_eq!(probe_timeout(&Rtt::default(), Duration::ZERO, 0), ms(300));
    }

    #[test]
    fn a_perfectly_steady_path_still_gets_a_millisecond_of_slack() {
        let mut rtt = measured(8);
        for _ in 0..200 {
            rtt.update(Instant::ZERO, ms(8), Duration::ZERO);
        }
        assert_eq!(probe_timeout(&rtt, Duration::ZERO, 0), ms(9));
    }

    #[test]
    fn doubling_stops_at_one_second() {
        let waits: Vec<_> = (0..6).map(|n| probe_timeout(&measured(40), ms(25), n).as_millis()).collect();
        assert_eq!(waits, [145, 290, 580, 1000, 1000, 1000]);
    }

    #[test]
    fn a_slow_path_backs_off_once_so_that_probes_never_outrun_their_answers() {
        let waits: Vec<_> = (0..4).map(|n| probe_timeout(&measured(1000), Duration::ZERO, n).as_millis()).collect();
        assert_eq!(waits, [3000, 6000, 6000, 6000]);
    }

    #[test]
    fn absurd_numbers_saturate() {
        assert_eq!(probe_timeout(&Rtt::new(Duration::MAX), Duration::MAX, u32::MAX), Duration::MAX);
        assert_eq!(probe_timeout(&measured(40), ms(25), 31), ms(1000));
        assert_eq!(probe_timeout(&measured(40), ms(25), 32), ms(1000));
    }
}
