//! The same node on real sockets, with the threads that the programs use.

use crate::village::bytes;
use anjer::driver::Remote;
use anjer::node::identity::Identity;
use anjer::node::{Command, Event, Setup, StartError, start};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Long enough for a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

struct Running {
    remote: Remote<Command, Event>,
    dir: TempDir,
    _state: TempDir,
}

impl Running {
    fn start(seed: u8) -> Self {
        let (dir, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut ready = None;
        let remote = start(setup(seed, "127.0.0.1:0", dir.path(), state.path()), |event| ready = Some(event)).unwrap();
        let local = remote.local_addr();
        assert!(matches!(ready, Some(Event::Ready { local: told, .. }) if told == local), "{ready:?}");
        Self { remote, dir, _state: state }
    }

    fn command(&self, command: Command) {
        self.remote.send(command).unwrap();
    }

    /// The next event that fits.
    fn wait_for(&self, what: &str, fits: impl Fn(&Event) -> bool) -> Event {
        loop {
            match self.remote.events().recv_timeout(PATIENCE) {
                Ok(event) if fits(&event) => return event,
                Ok(_) => {}
                Err(error) => panic!("no {what}: {error}"),
            }
        }
    }
}

fn setup(seed: u8, bind: &str, dir: &Path, state: &Path) -> Setup {
    Setup {
        identity: Arc::new(Identity::from_seed(&[seed; 32])),
        name: format!("node {seed}"),
        bind: bind.parse().unwrap(),
        local: true,
        open: false,
        stun: Vec::new(),
        dir: dir.to_owned(),
        state: state.to_owned(),
    }
}

#[test]
fn two_on_one_machine_meet_talk_and_exchange_a_file() {
    let (host, guest) = (Running::start(1), Running::start(2));
    guest.command(Command::ConnectTo(host.remote.local_addr()));
    guest.wait_for("connected", |event| matches!(event, Event::Connected { .. }));
    guest.command(Command::Talk("hello".into()));
    for one in [&host, &guest] {
        one.wait_for("line", |event| matches!(event, Event::Chat { text, .. } if text == "hello"));
    }
    let content = bytes(5, 20 << 20);
    std::fs::write(host.dir.path().join("film"), &content).unwrap();
    host.command(Command::Offer("film".into()));
    guest.wait_for("offer", |event| matches!(event, Event::Offered(offered) if offered.hash.is_some()));
    guest.command(Command::Retrieve { what: "film".into(), save_as: None });
    guest.wait_for("file", |event| matches!(event, Event::Saved { .. }));
    assert!(std::fs::read(guest.dir.path().join("film")).unwrap() == content);
    host.command(Command::Quit);
    host.wait_for("bye", |event| *event == Event::Bye);
    guest.wait_for("supernode", |event| matches!(event, Event::Supernode { me: true, .. }));
    guest.command(Command::Quit);
    guest.wait_for("bye", |event| *event == Event::Bye);
    host.remote.join().unwrap();
    guest.remote.join().unwrap();
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_it() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = taken.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let error = start(setup(1, &address.to_string(), dir.path(), dir.path()), |_| {}).unwrap_err();
    assert!(matches!(error, StartError::Bind(at, _) if at == address), "{error}");
}
