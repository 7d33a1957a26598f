//! Credit: how much one side lets the other send (RFC 9000 §4). The same for a channel and for all channels of a connection.

use crate::time::{Duration, Instant};

/// The peer sent more than it was allowed: the connection is to be closed. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more was sent than was allowed")]
pub struct CreditOverflow;

/// What we let the peer send.
///
/// The window starts small and doubles when the peer uses a quarter of it up within two round trips, for then it may be the window that
/// holds the peer back: what was lost, and lost again, keeps three round trips' worth waiting behind it. So a window grows to between
/// four and eight times the path's bandwidth-delay product, and idle channels promise little.
#[derive(Clone, Debug)]
pub struct ReceiveCredit {
    /// Granted: the highest offset that the peer may reach.
    limit: u64,
    /// The highest offset that the peer did reach.
    highest: u64,
    /// What the application took.
    consumed: u64,
    window: u64,
    max_window: u64,
    /// When the limit was last raised, or something first consumed.
    raised: Option<Instant>,
}

impl ReceiveCredit {
    /// Grants `window` bytes, which may grow to `max_window`.
    pub const fn new(window: u64, max_window: u64) -> Self {
        let max_window = if max_window < window { window } else { max_window };
        Self { limit: window, highest: 0, consumed: 0, window, max_window, raised: None }
    }

    /// Bytes up to the offset `end` arrived. Returns by how much that raises the highest offset: what they take of the credit of
    /// the connection.
    pub fn on_received(&mut self, end: u64) -> Result<u64, CreditOverflow> {
        if end > self.limit {
            return Err(CreditOverflow);
        }
        let more = end.saturating_sub(self.highest);
        self.highest = self.highest.max(end);
        Ok(more)
    }

    /// As [`on_received`](Self::on_received), for the sum over all channels: their highest offsets grew by `more` bytes.
    pub fn on_received_more(&mut self, more: u64) -> Result<u64, CreditOverflow> {
        self.on_received(self.highest.saturating_add(more))
    }

    /// The application took `n` bytes, or will never want them. Returns the limit to announce, once that raises it by at least a
    /// quarter of a window.
    pub fn on_consumed(&mut self, n: u64, now: Instant, rtt: Duration) -> Option<u64> {
        self.consumed = self.consumed.saturating_add(n).min(self.highest);
        let since_raised = self.raised.map(|raised| now.saturating_since(raised));
        self.raised.get_or_insert(now);
        if self.consumed.saturating_add(self.window).saturating_sub(self.limit) < self.window.div_ceil(4) {
            return None;
        }
        if since_raised.is_some_and(|took| took < rtt.saturating_mul(2)) {
            self.window = self.window.saturating_mul(2).min(self.max_window);
        }
        self.raised = Some(now);
        self.limit = self.consumed.saturating_add(self.window);
        Some(self.limit)
    }

    /// The highest offset that the peer may reach.
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// The highest offset that the peer did reach.
    pub const fn highest(&self) -> u64 {
        self.highest
    }

    /// Bytes that arrived, or are on their way before one that arrived, and were not consumed.
    pub const fn outstanding(&self) -> u64 {
        self.highest - self.consumed
    }

    /// Bytes that the peer may have outstanding.
    pub const fn window(&self) -> u64 {
        self.window
    }
}

/// What the peer lets us send.
#[derive(Clone, Debug)]
pub struct SendCredit {
    limit: u64,
    used: u64,
}

impl SendCredit {
    /// What the peer granted from the beginning.
    pub const fn new(limit: u64) -> Self {
        Self { limit, used: 0 }
    }

    /// The peer announces a limit. One that is not higher is out of date (RFC 9000 §4.1). Returns whether it is higher.
    pub const fn on_limit(&mut self, limit: u64) -> bool {
        let higher = limit > self.limit;
        if higher {
            self.limit = limit;
        }
        higher
    }

    /// Bytes were sent for the first time. At most [`available`](Self::available) of them: more is a mistake of the caller, and
    /// counts as that.
    pub fn on_sent(&mut self, n: u64) {
        debug_assert!(n <= self.available(), "sent beyond the credit");
        self.used = self.used.saturating_add(n).min(self.limit);
    }

    /// Bytes that may be sent.
    pub const fn available(&self) -> u64 {
        self.limit - self.used
    }

    /// Whether nothing may be sent.
    pub const fn is_blocked(&self) -> bool {
        self.available() == 0
    }

    /// The highest offset that may be reached.
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// The highest offset that was reached.
    pub const fn used(&self) -> u64 {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RTT: Duration = Duration::from_millis(100);

    fn at(ms: u64) -> Instant {
        Instant::from_start(Duration::from_millis(ms))
    }

    #[test]
    fn bytes_count_once_whatever_their_order() {
        let mut credit = ReceiveCredit::new(100, 100);
        assert_eq!(credit.on_received(40), Ok(40));
        assert_eq!(credit.on_received(20), Ok(0));
        assert_eq!(credit.on_received(100), Ok(60));
        assert_eq!(credit.on_received(101), Err(CreditOverflow));
        assert_eq!(credit.on_received(u64::MAX), Err(CreditOverflow));
        assert_eq!(credit.on_received_more(u64::MAX), Err(CreditOverflow));
        assert_eq!((credit.highest(), credit.outstanding()), (100, 100));
    }

    #[test]
    fn a_limit_is_announced_once_a_quarter_of_the_window_is_consumed() {
        let mut credit = ReceiveCredit::new(100, 100);
        credit.on_received(100).unwrap();
        assert_eq!(credit.on_consumed(24, at(0), RTT), None);
        assert_eq!(credit.on_consumed(1, at(0), RTT), Some(125));
        assert_eq!(credit.on_consumed(1, at(0), RTT), None);
        assert_eq!(credit.limit(), 125);
    }

    #[test]
    fn more_cannot_be_consumed_than_came() {
        let mut credit = ReceiveCredit::new(100, 100);
        credit.on_received(60).unwrap();
        assert_eq!(credit.on_consumed(u64::MAX, at(0), RTT), Some(160));
        assert_eq!(credit.outstanding(), 0);
    }

    #[test]
    fn a_window_that_holds_the_peer_back_grows_up_to_its_cap() {
        let mut credit = ReceiveCredit::new(100, 350);
        credit.on_received(100).unwrap();
        assert_eq!(credit.on_consumed(10, at(0), RTT), None);
        assert_eq!(credit.on_consumed(40, at(150), RTT), Some(50 + 200));
        credit.on_received(250).unwrap();
        assert_eq!(credit.on_consumed(200, at(300), RTT), Some(250 + 350), "not 400: that is the cap");
        credit.on_received(600).unwrap();
        assert_eq!(credit.on_consumed(350, at(301), RTT), Some(600 + 350));
    }

    #[test]
    fn a_slow_peer_keeps_a_small_window() {
        let mut credit = ReceiveCredit::new(100, 1000);
        for step in 1..20 {
            credit.on_received(step * 50).unwrap();
            credit.on_consumed(50, at(step * 200), RTT);
        }
        // Every half of the window took two round trips: it is not the window that holds the peer back.
        assert_eq!(credit.window(), 100);
    }

    #[test]
    fn a_limit_that_comes_late_takes_nothing_back() {
        let mut credit = SendCredit::new(10);
        credit.on_sent(10);
        assert!(credit.is_blocked());
        assert!(credit.on_limit(30));
        assert!(!credit.on_limit(20));
        assert_eq!((credit.available(), credit.limit(), credit.used()), (20, 30, 10));
    }

    proptest! {
        #[test]
        fn a_sender_within_its_credit_never_overflows_and_is_never_stuck(
            steps in prop::collection::vec((0..5000_u64, 0..5000_u64, 0..500_u64), 1..200),
        ) {
            let (mut receive, mut send) = (ReceiveCredit::new(1000, 50_000), SendCredit::new(1000));
            let mut now = 0;
            for (sent, consumed, passed) in steps {
                now += passed;
                let sent = sent.min(send.available());
                send.on_sent(sent);
                prop_assert_eq!(receive.on_received(send.used()), Ok(sent));
                let consumed = consumed.min(receive.outstanding());
                if let Some(limit) = receive.on_consumed(consumed, at(now), RTT) {
                    prop_assert!(send.on_limit(limit));
                }
                prop_assert!(receive.outstanding() <= receive.window());
                // With everything consumed, at least three quarters of the window are open.
                prop_assert!(receive.outstanding() > 0 || send.available() > receive.window() / 4 * 3 - 1);
            }
        }
    }
}
