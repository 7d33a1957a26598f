//! How a connection comes to be: the caller's and the callee's steps, from the first message to keys.

use super::life::Connection;
use super::live::{Entropy, Live, Other};
use super::setup::{CALLEE_PATIENCE, Repeat, Setup};
use crate::mrt::api::{Config, ConnectTo, ConnectionHandle, SecretId, SharedSecret};
use crate::mrt::crypto::noise::{Handshake, HandshakeFailed};
use crate::mrt::crypto::parameters::Parameters;
use crate::mrt::route::Route;
use crate::mrt::wire::{Cid, Clear, Pattern};
use crate::time::{Duration, Instant};

/// What the endpoint gives a connection at its birth: its names and its secret seeds.
pub(crate) struct Birth {
    pub(crate) handle: ConnectionHandle,
    pub(crate) cid: Cid,
    pub(crate) handshake_seed: [u8; 32],
    pub(crate) entropy_seed: [u8; 32],
}

/// Whom to call, and for how long.
pub(crate) struct Call {
    pub(crate) route: Route,
    pub(crate) to: ConnectTo,
    pub(crate) timeout: Duration,
}

/// A stranger's request, as far as it could be read.
pub(crate) struct Request<'a> {
    pub(crate) from: Route,
    pub(crate) cid: Cid,
    pub(crate) pattern: Pattern,
    pub(crate) noise: &'a [u8],
}

impl Connection {
    /// The caller's side.
    pub(crate) fn connect(now: Instant, config: &Config, birth: &Birth, call: &Call) -> Result<Self, HandshakeFailed> {
        let mut payload = Vec::new();
        let (pattern, key, secret) = match &call.to {
            ConnectTo::Unknown => (Pattern::XX, None, None),
            ConnectTo::Known(key) => (Pattern::IK, Some(key), None),
            ConnectTo::Invited { key, id, secret } => {
                payload.extend_from_slice(&id.0);
                (Pattern::IKpsk2, Some(key), Some((*id, secret)))
            }
        };
        let (secret_id, secret) = secret.unzip();
        // The first message of XX is not sealed: our limits wait for the third.
        if pattern != Pattern::XX {
            Live::parameters(config, birth.cid).emit(&mut payload);
        }
        let mut handshake =
            Handshake::initiator(pattern, &config.static_key, &config.application, key, secret, birth.handshake_seed)?;
        let noise = handshake.write(&payload)?;
        let setup = Setup::ExpectAccept {
            handshake: Box::new(handshake),
            pattern,
            secret: secret_id,
            noise,
            cookie: Vec::new(),
            repeat: Repeat::new(now, now + call.timeout),
        };
        Ok(Self::new(now, birth, true, call.route, setup))
    }

    /// The callee's side: reads the caller's first message. `secret_of`: the shared secret with that name, if we know it.
    pub(crate) fn accept(
        now: Instant,
        config: &Config,
        birth: &Birth,
        request: &Request<'_>,
        secret_of: impl FnOnce(SecretId) -> Option<SharedSecret>,
    ) -> Result<Self, HandshakeFailed> {
        let mut handshake =
            Handshake::responder(request.pattern, &config.static_key, &config.application, birth.handshake_seed)?;
        let payload = handshake.read(request.noise)?;
        let mut parameters = payload.as_slice();
        let mut secret_id = None;
        if request.pattern == Pattern::IKpsk2 {
            let (id, rest) = payload.split_first_chunk().ok_or(HandshakeFailed)?;
            let id = SecretId(*id);
            handshake.set_secret(&secret_of(id).ok_or(HandshakeFailed)?)?;
            (secret_id, parameters) = (Some(id), rest);
        }
        let mut ours = Vec::new();
        Live::parameters(config, birth.cid).emit(&mut ours);
        let noise = handshake.write(&ours)?;
        let mut accept = Vec::new();
        Clear::Acon { to: request.cid, from: birth.cid, noise: &noise }.emit(&mut accept);
        let until = now + CALLEE_PATIENCE;
        if request.pattern == Pattern::XX {
            let setup = Setup::ExpectThird { handshake: Box::new(handshake), accept, until };
            let mut connection = Self::new(now, birth, false, request.from, setup);
            connection.reply_due = Some(request.from);
            return Ok(connection);
        }
        let parameters = Parameters::parse(parameters).map_err(|_| HandshakeFailed)?;
        let setup = Setup::ExpectProof { accept, until };
        let mut connection = Self::new(now, birth, false, request.from, setup);
        let other = Other { route: request.from, parameters, secret: secret_id };
        connection.go_live(now, config, handshake, &other)?;
        connection.reply_due = Some(request.from);
        Ok(connection)
    }

    /// The same request came again: our answer was lost. The caller still means it, so our patience begins anew: else a caller that
    /// hears one of the last answers would go on with somebody who has just forgotten it.
    ///
    /// The answer goes to where it came from, which may be another place than before: a NAT stands between, or several ways are tried.
    pub(crate) fn on_repeated_request(&mut self, now: Instant, from: Route) {
        if let Setup::ExpectThird { until, .. } | Setup::ExpectProof { until, .. } = &mut self.setup {
            *until = now + CALLEE_PATIENCE;
            self.reply_due = Some(from);
        }
    }

    /// The other side wants to see a cookie first.
    pub(crate) fn on_retry(&mut self, now: Instant, shown: &[u8]) {
        if let Setup::ExpectAccept { cookie, repeat, .. } = &mut self.setup
            && !shown.is_empty()
        {
            // The first is shown at once. Later ones wait for their turn: the first was forged, or grew old, or these are forged.
            if cookie.is_empty() {
                *repeat = Repeat::new(now, repeat.until);
            }
            cookie.clear();
            cookie.extend_from_slice(shown);
        }
    }

    /// The second message, or the third, in a datagram of so many bytes.
    ///
    /// Wherever it comes from: only who read the message before it can have written this one. But whoever passed it on may have changed
    /// where it says it comes from. The other side is taken to be where the message before went; another place, from where it may only
    /// be able to answer, has to prove itself at once, and until then gets no more than three times what came.
    pub(crate) fn on_accept(&mut self, now: Instant, config: &Config, from: Route, noise: &[u8], bytes: usize) {
        // A message that does not read leaves everything as it was: anyone can send one.
        if self.try_accept(now, config, noise) == Ok(true)
            && let Some(live) = &mut self.live
        {
            live.on_setup_from(now, from, bytes);
        }
    }

    /// `true`: it was read.
    fn try_accept(&mut self, now: Instant, config: &Config, noise: &[u8]) -> Result<bool, HandshakeFailed> {
        let route = self.first_route;
        match &mut self.setup {
            Setup::ExpectAccept { handshake, secret, .. } => {
                let (payload, secret) = (handshake.read(noise)?, *secret);
                let parameters = Parameters::parse(&payload).map_err(|_| HandshakeFailed)?;
                self.on_second(now, config, &Other { route, parameters, secret })?;
                Ok(true)
            }
            Setup::ExpectThird { handshake, .. } => {
                let payload = handshake.read(noise)?;
                let parameters = Parameters::parse(&payload).map_err(|_| HandshakeFailed)?;
                let Setup::ExpectThird { handshake, .. } = core::mem::replace(&mut self.setup, Setup::Done) else {
                    return Err(HandshakeFailed);
                };
                self.go_live(now, config, *handshake, &Other { route, parameters, secret: None })?;
                self.on_connected(now);
                Ok(true)
            }
            Setup::ExpectSealed { .. } | Setup::ExpectProof { .. } | Setup::Done => Ok(false),
        }
    }

    /// The caller has read the second message, and that changed the handshake for good.
    fn on_second(&mut self, now: Instant, config: &Config, other: &Other) -> Result<(), HandshakeFailed> {
        let Setup::ExpectAccept { mut handshake, pattern, repeat, .. } =
            core::mem::replace(&mut self.setup, Setup::Done)
        else {
            return Err(HandshakeFailed);
        };
        if pattern == Pattern::XX {
            let mut ours = Vec::new();
            Live::parameters(config, self.local_cid).emit(&mut ours);
            let noise = handshake.write(&ours)?;
            let mut third = Vec::new();
            Clear::Acon { to: other.parameters.cid, from: self.local_cid, noise: &noise }.emit(&mut third);
            self.setup = Setup::ExpectSealed { third, repeat: Repeat::new(now, repeat.until), also: false };
        }
        self.go_live(now, config, *handshake, other)?;
        if let (Some(sent_at), Some(live)) = (repeat.left_once, &mut self.live) {
            live.paths.active.rtt.update(now, now.saturating_since(sent_at), Duration::ZERO);
        }
        self.on_connected(now);
        if let Some(live) = &mut self.live {
            // The callee waits for something sealed, and nobody may have anything to say.
            live.channels.ping();
        }
        Ok(())
    }

    /// What of the setup is to be sent, and where to.
    pub(super) fn transmit_setup(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Route> {
        match &mut self.setup {
            Setup::ExpectAccept { pattern, noise, cookie, repeat, .. } => {
                if repeat.next > now {
                    return None;
                }
                repeat.on_sent(now);
                let relayed = self.first_route.is_relayed();
                Clear::Rcon { relayed, pattern: *pattern, from: self.local_cid, cookie, noise }.emit(buffer);
                Some(self.first_route)
            }
            Setup::ExpectSealed { third, repeat, also } => {
                let live = self.live.as_mut()?;
                if core::mem::take(also)
                    && let Some(route) = live.allowed_on_trial(third.len())
                {
                    buffer.extend_from_slice(third);
                    return Some(route);
                }
                if repeat.next > now {
                    return None;
                }
                repeat.on_sent(now);
                *also = true;
                buffer.extend_from_slice(third);
                Some(live.paths.active.route)
            }
            Setup::ExpectThird { accept, .. } | Setup::ExpectProof { accept, .. } => {
                let route = self.reply_due.take()?;
                buffer.extend_from_slice(accept);
                Some(route)
            }
            Setup::Done => None,
        }
    }

    fn go_live(
        &mut self,
        now: Instant,
        config: &Config,
        handshake: Handshake,
        other: &Other,
    ) -> Result<(), HandshakeFailed> {
        let entropy = Entropy::new(self.entropy_seed);
        let outcome = handshake.finish()?;
        self.live = Some(Box::new(Live::new(now, config, self.initiator, outcome, other, entropy)));
        Ok(())
    }
}
