//! The whole thread.

use super::*;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn start(map_ports: bool) -> (mio::Poll, World, JoinHandle<()>) {
    let poll = mio::Poll::new().unwrap();
    let waker = Arc::new(Waker::new(poll.registry(), mio::Token(1)).unwrap());
    let (world, thread) = spawn(Config { map_ports }, Clock::start(), waker).unwrap();
    (poll, world, thread)
}

/// Waits as the network thread does.
fn next(poll: &mut mio::Poll, world: &mut World) -> Surroundings {
    let mut events = mio::Events::with_capacity(4);
    let clock = Clock::start();
    loop {
        if let Some(fact) = world.take() {
            return fact;
        }
        assert!(clock.now().since_start() < PATIENCE);
        poll.poll(&mut events, Some(PATIENCE)).unwrap();
    }
}

#[test]
fn interfaces_are_told_unasked_and_names_when_asked() {
    let (mut poll, mut world, thread) = start(false);
    let Surroundings::Interfaces(_) = next(&mut poll, &mut world) else { panic!("something else first") };
    let mut requests = vec![SurroundingsRequest::Resolve("127.0.0.1:9".into()), SurroundingsRequest::MapPort(9)];
    assert_eq!(world.ask(8, || requests.pop()), (2, false));
    let addresses = vec!["127.0.0.1:9".parse().unwrap()];
    assert_eq!(next(&mut poll, &mut world), Surroundings::Resolved { name: "127.0.0.1:9".into(), addresses });
    drop(world);
    thread.join().unwrap();
}

/// The cap: requests that find no room stay with whoever asks, in order, and none is lost.
#[test]
fn requests_wait_where_they_come_from() {
    let (requests, mut taken) = channel(2);
    let (_, facts) = channel(1);
    let mut world = World { requests, held: None, facts };
    let mut numbers = 0..5;
    let mut next = || numbers.next().map(SurroundingsRequest::MapPort);
    assert_eq!(world.ask(8, &mut next), (2, true));
    assert_eq!(world.ask(8, &mut next), (0, true));
    assert_eq!(taken.try_recv(), Ok(SurroundingsRequest::MapPort(0)));
    assert_eq!(world.ask(8, &mut next), (1, true));
    for number in 1..3 {
        assert_eq!(taken.try_recv(), Ok(SurroundingsRequest::MapPort(number)));
    }
    assert_eq!(world.ask(1, &mut next), (1, false));
    assert_eq!(world.ask(8, &mut next), (1, false));
    drop(taken);
    assert_eq!(world.ask(8, || None), (0, false));
}

/// However slow everybody outside is, the thread ends soon after it is not needed.
#[test]
fn the_end_waits_for_nobody() {
    let (mut poll, mut world, thread) = start(true);
    next(&mut poll, &mut world);
    let mut requests = vec![SurroundingsRequest::Resolve("a.name.that.nobody.has.invalid:1".into())];
    world.ask(8, || requests.pop());
    let clock = Clock::start();
    drop(world);
    thread.join().unwrap();
    assert!(clock.now().since_start() < 2 * FAREWELL + PATIENCE / 4);
}
