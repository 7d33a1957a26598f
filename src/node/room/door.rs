//! Who may come in: windows, invitations, questions.

use super::message::{InvitationState, Refusal};
use super::view::MAX_INVITATIONS;
use crate::mrt::SecretId;
use crate::node::identity::NodeId;
use crate::node::record::MemberRecord;
use crate::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// People who wait at the door, at most.
pub(super) const MAX_ASKED: usize = 16;

/// Windows that `A <ip> <port>` holds open, at most.
pub(super) const MAX_WINDOWS: usize = 16;

/// Invitations that one member can have open.
pub(super) const MAX_INVITATIONS_EACH: usize = 16;

/// The door of one node.
#[derive(Clone, Debug, Default)]
pub(super) struct Door {
    windows: BTreeMap<SocketAddr, Window>,
    asked: BTreeMap<NodeId, Asked>,
    /// Those whom the user admitted, until they come in.
    passes: BTreeMap<NodeId, Instant>,
    invitations: BTreeMap<[u8; 16], Open>,
}

#[derive(Clone, Debug)]
struct Window {
    until: Instant,
    /// The first key that came from there; no other will do.
    key: Option<NodeId>,
}

/// Somebody who waits at the door.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Who.
    pub(super) record: MemberRecord,
    /// Where from.
    pub(super) remote: SocketAddr,
    until: Instant,
}

#[derive(Clone, Debug)]
struct Open {
    state: InvitationState,
    until: Instant,
}

/// What the door decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Come in, by this invitation if one was needed.
    Admit(Option<[u8; 16]>),
    /// The user is to be asked; `true`: it was not before.
    Ask(bool),
    /// No.
    Refuse(Refusal),
}

impl Door {
    /// Somebody asks to be let in. `always`: by `--open` or `--local`, whoever comes from there may.
    pub(super) fn decide(
        &mut self,
        now: Instant,
        record: &MemberRecord,
        remote: SocketAddr,
        secret: Option<SecretId>,
        always: bool,
        wait: Duration,
    ) -> Decision {
        let id = record.id();
        self.tidy(now);
        if let Some(SecretId(invitation)) = secret {
            return match self.check_invitation(now, invitation, id) {
                Ok(()) => Decision::Admit(Some(invitation)),
                Err(_) if always || self.passes.contains_key(&id) => Decision::Admit(None),
                Err(refusal) => Decision::Refuse(refusal),
            };
        }
        if always || self.passes.contains_key(&id) {
            return Decision::Admit(None);
        }
        if self.passes_window(remote, id) {
            return Decision::Admit(None);
        }
        let asked = Asked { record: record.clone(), remote, until: now + wait };
        if let Some(known) = self.asked.get_mut(&id) {
            *known = asked;
            return Decision::Ask(false);
        }
        if self.asked.len() >= MAX_ASKED {
            return Decision::Refuse(Refusal::Crowded);
        }
        self.asked.insert(id, asked);
        Decision::Ask(true)
    }

    /// Whether a window is open for that key: it is the first that came from there. A NAT may show us another port than the one that
    /// the user was told, so that any port of the same host will do if none is open for this very one. No NAT is within a machine.
    fn passes_window(&mut self, remote: SocketAddr, id: NodeId) -> bool {
        let is_exact = self.windows.contains_key(&remote) || remote.ip().to_canonical().is_loopback();
        let same = |address: &SocketAddr| if is_exact { *address == remote } else { address.ip() == remote.ip() };
        let mut windows = self.windows.iter_mut().filter(|(address, _)| same(address));
        windows.any(|(_, window)| *window.key.get_or_insert(id) == id)
    }

    /// Whether that key may come in by that invitation. The one who used it may try again.
    pub(super) fn check_invitation(&self, now: Instant, invitation: [u8; 16], joiner: NodeId) -> Result<(), Refusal> {
        let open =
            self.invitations.get(&invitation).filter(|open| open.until > now).ok_or(Refusal::InvitationUnknown)?;
        match open.state.used_by {
            Some(other) if other != joiner => Err(Refusal::InvitationUsed),
            _ => Ok(()),
        }
    }

    /// Who came in by that invitation.
    pub(super) fn used_by(&self, invitation: [u8; 16]) -> Option<NodeId> {
        self.invitations.get(&invitation)?.state.used_by
    }

    /// That key came in by that invitation.
    pub(super) fn use_invitation(&mut self, invitation: [u8; 16], joiner: NodeId) {
        if let Some(open) = self.invitations.get_mut(&invitation) {
            open.state.used_by.get_or_insert(joiner);
        }
    }

    /// `A <ip> <port>`. `false`: too many windows are open. Whoever already waits and came from there is returned.
    pub(super) fn open_window(&mut self, now: Instant, from: SocketAddr, until: Instant) -> (bool, Option<Asked>) {
        self.tidy(now);
        if self.windows.len() >= MAX_WINDOWS && !self.windows.contains_key(&from) {
            return (false, None);
        }
        let exact = self.asked.values().find(|asked| asked.remote == from);
        let same_host = |asked: &&Asked| asked.remote.ip() == from.ip() && !from.ip().to_canonical().is_loopback();
        let first = exact.or_else(|| self.asked.values().find(same_host)).cloned();
        self.windows.insert(from, Window { until, key: first.as_ref().map(|asked| asked.record.id()) });
        (true, first)
    }

    /// Whoever waits under an id that begins like this.
    pub(super) fn waiting(&mut self, now: Instant, prefix: &str) -> Vec<Asked> {
        self.tidy(now);
        self.asked.values().filter(|asked| asked.record.id().to_string().starts_with(prefix)).cloned().collect()
    }

    /// Whether that key waits.
    pub(super) fn is_waiting(&self, id: NodeId) -> bool {
        self.asked.contains_key(&id)
    }

    /// Whether that key was let in and may not have arrived yet.
    pub(super) fn has_pass(&self, now: Instant, id: NodeId) -> bool {
        self.passes.get(&id).is_some_and(|until| *until > now)
    }

    /// That key may come in until then.
    pub(super) fn give_pass(&mut self, id: NodeId, until: Instant) {
        self.asked.remove(&id);
        while self.passes.len() >= MAX_ASKED {
            self.passes.pop_first();
        }
        self.passes.insert(id, until);
    }

    /// That key came in, or gave up.
    pub(super) fn forget(&mut self, id: NodeId) {
        self.asked.remove(&id);
        self.passes.remove(&id);
        self.windows.retain(|_, window| window.key != Some(id));
    }

    /// An invitation is known from here on. `false`: it was, or too many are.
    pub(super) fn add_invitation(&mut self, now: Instant, state: InvitationState, longest: Duration) -> bool {
        let each = self.invitations.values().filter(|open| open.state.by == state.by).count();
        if let Some(open) = self.invitations.get_mut(&state.id) {
            open.state.used_by = open.state.used_by.or(state.used_by);
            return false;
        }
        if self.invitations.len() >= MAX_INVITATIONS || each >= MAX_INVITATIONS_EACH {
            return false;
        }
        let until = now + Duration::from_millis(state.remaining_ms).min(longest);
        self.invitations.insert(state.id, Open { state, until });
        true
    }

    /// Every invitation, with the time that is left.
    pub(super) fn invitations(&self, now: Instant) -> Vec<InvitationState> {
        let left = |until: Instant| u64::try_from(until.saturating_since(now).as_millis()).unwrap_or(u64::MAX);
        let states = self.invitations.values();
        states.map(|open| InvitationState { remaining_ms: left(open.until), ..open.state.clone() }).collect()
    }

    /// Forgets every invitation but those that `keep` keeps; the forgotten are returned.
    pub(super) fn retain_invitations(&mut self, keep: impl Fn(&InvitationState) -> bool) -> Vec<[u8; 16]> {
        let gone = self.invitations.values().filter(|open| !keep(&open.state)).map(|open| open.state.id).collect();
        self.invitations.retain(|_, open| keep(&open.state));
        gone
    }

    fn tidy(&mut self, now: Instant) {
        self.windows.retain(|_, window| window.until > now);
        self.asked.retain(|_, asked| asked.until > now);
        self.passes.retain(|_, until| *until > now);
    }

    /// Forgets what is over; invitations that are, are returned.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<[u8; 16]> {
        self.tidy(now);
        let over = self.invitations.values().filter(|open| open.until <= now).map(|open| open.state.id).collect();
        self.invitations.retain(|_, open| open.until > now);
        over
    }

    /// When something will be over.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let windows = self.windows.values().map(|window| window.until);
        let asked = self.asked.values().map(|asked| asked.until);
        let invitations = self.invitations.values().map(|open| open.until);
        windows.chain(asked).chain(invitations).chain(self.passes.values().copied()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::identity::Identity;

    const WAIT: Duration = Duration::from_secs(600);

    fn record(seed: u8) -> MemberRecord {
        MemberRecord::sign(&Identity::from_seed(&[seed; 32]), "x", &[], 1)
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn ask(door: &mut Door, now: Instant, seed: u8, port: u16, secret: Option<[u8; 16]>) -> Decision {
        door.decide(now, &record(seed), address(port), secret.map(SecretId), false, WAIT)
    }

    fn invitation(name: u8, by: u8) -> InvitationState {
        let (id, secret, by) = ([name; 16], [name; 32], NodeId([by; 32]));
        InvitationState { id, secret, by, remaining_ms: 1000, used_by: None }
    }

    #[test]
    fn sixteen_may_wait_each_asked_about_once() {
        let (mut door, now) = (Door::default(), Instant::ZERO);
        for seed in 0..16 {
            assert_eq!(ask(&mut door, now, seed, 1, None), Decision::Ask(true));
            assert_eq!(ask(&mut door, now, seed, 1, None), Decision::Ask(false));
        }
        assert_eq!(ask(&mut door, now, 99, 1, None), Decision::Refuse(Refusal::Crowded));
        assert_eq!(ask(&mut door, now + WAIT, 99, 1, None), Decision::Ask(true), "after ten minutes there is room");
    }

    #[test]
    fn a_window_admits_the_first_key_from_there_and_no_second() {
        let (mut door, now) = (Door::default(), Instant::ZERO);
        assert!(door.open_window(now, address(7), now + WAIT).0);
        assert_eq!(ask(&mut door, now, 2, 7, None), Decision::Admit(None));
        assert_eq!(ask(&mut door, now, 3, 7, None), Decision::Ask(true));
        assert_eq!(ask(&mut door, now, 2, 7, None), Decision::Admit(None));
        assert_eq!(ask(&mut door, now + WAIT, 2, 7, None), Decision::Ask(true), "the window is shut");
    }

    /// Behind a NAT that gives a port to each destination, the port that a STUN server saw is not the one that we see.
    #[test]
    fn a_window_admits_from_another_port_of_the_same_host_if_none_is_open_for_that_very_port() {
        let (mut door, now) = (Door::default(), Instant::ZERO);
        door.open_window(now, address(7), now + WAIT);
        assert_eq!(ask(&mut door, now, 1, 8, None), Decision::Admit(None));
        assert_eq!(ask(&mut door, now, 2, 7, None), Decision::Ask(true), "one key is one key");
        let (here, mut door) = (SocketAddr::from(([127, 0, 0, 1], 7)), Door::default());
        door.open_window(now, here, now + WAIT);
        let elsewhere = SocketAddr::from(([127, 0, 0, 1], 8));
        assert_eq!(door.decide(now, &record(1), elsewhere, None, false, WAIT), Decision::Ask(true));
    }

    #[test]
    fn an_invitation_admits_one_key_which_may_try_again() {
        let (mut door, now) = (Door::default(), Instant::ZERO);
        assert!(door.add_invitation(now, invitation(5, 1), WAIT));
        assert_eq!(ask(&mut door, now, 1, 1, Some([5; 16])), Decision::Admit(Some([5; 16])));
        door.use_invitation([5; 16], record(1).id());
        assert_eq!(ask(&mut door, now, 1, 1, Some([5; 16])), Decision::Admit(Some([5; 16])));
        assert_eq!(ask(&mut door, now, 2, 1, Some([5; 16])), Decision::Refuse(Refusal::InvitationUsed));
        assert_eq!(ask(&mut door, now, 2, 1, Some([6; 16])), Decision::Refuse(Refusal::InvitationUnknown));
        let later = now + Duration::from_secs(1);
        assert_eq!(ask(&mut door, later, 1, 1, Some([5; 16])), Decision::Refuse(Refusal::InvitationUnknown));
    }

    #[test]
    fn invitations_and_windows_are_capped() {
        let (mut door, now) = (Door::default(), Instant::ZERO);
        let added = (0..100).filter(|name| door.add_invitation(now, invitation(*name, 1), WAIT)).count();
        assert_eq!(added, MAX_INVITATIONS_EACH);
        let opened = (0..100).filter(|port| door.open_window(now, address(*port), now + WAIT).0).count();
        assert_eq!(opened, MAX_WINDOWS);
    }
}
