//! What the node has to tell, bounded: whoever reads events may be asleep while members talk.

use super::api::Event;
use std::collections::VecDeque;

/// Events that wait for their reader. Lines of 16 KiB make that 64 MiB at worst.
const MAX_EVENTS: usize = 4096;

/// Events in order. When too many wait, lines of chat are counted instead of kept ([`Event::Missed`]), the rest is left out.
#[derive(Debug, Default)]
pub(super) struct Told {
    events: VecDeque<Event>,
}

impl Told {
    /// Something to tell.
    pub(super) fn push(&mut self, event: Event) {
        if self.events.len() < MAX_EVENTS || event == Event::Bye {
            return self.events.push_back(event);
        }
        let Event::Chat { seq, .. } = event else {
            return tracing::warn!(?event, "nobody reads what is told: left out");
        };
        match self.events.back_mut() {
            Some(Event::Missed { to, count, .. }) => (*to, *count) = (seq, count.saturating_add(1)),
            _ => self.events.push_back(Event::Missed { from: seq, to: seq, count: 1 }),
        }
    }

    /// The next thing to tell.
    pub(super) fn pop(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::identity::NodeId;

    fn line(seq: u64) -> Event {
        let id = NodeId([1; 32]);
        let (name, line, text) = (String::new(), String::new(), "x".into());
        Event::Chat { id, name, epoch: 1, supernode: id, seq, line, time: 0, history: false, text }
    }

    #[test]
    fn lines_that_nobody_reads_are_counted_and_the_end_is_told_in_any_case() {
        let mut told = Told::default();
        (0..10_000).for_each(|seq| told.push(line(seq)));
        told.push(Event::Files { files: Vec::new() });
        told.push(Event::Bye);
        assert_eq!(told.events.len(), MAX_EVENTS + 2);
        let end: Vec<Event> = std::iter::from_fn(|| told.pop()).skip(MAX_EVENTS).collect();
        assert_eq!(end, [Event::Missed { from: 4096, to: 9999, count: 10_000 - 4096 }, Event::Bye]);
    }
}
