//! Packets on their way, so that the heap of events moves small entries only.

/// Things by ticket; tickets are used again.
pub(super) struct Slab<T> {
    things: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self { things: Vec::new(), free: Vec::new() }
    }

    pub(super) fn put(&mut self, thing: T) -> u32 {
        if let Some(ticket) = self.free.pop()
            && let Some(slot) = self.things.get_mut(ticket as usize)
        {
            *slot = Some(thing);
            return ticket;
        }
        self.things.push(Some(thing));
        u32::try_from(self.things.len() - 1).unwrap_or(u32::MAX)
    }

    pub(super) fn take(&mut self, ticket: u32) -> Option<T> {
        let thing = self.things.get_mut(ticket as usize)?.take()?;
        self.free.push(ticket);
        Some(thing)
    }
}
