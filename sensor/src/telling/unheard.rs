use std::collections::HashSet;

use inventory::{Event, SocketId};

/// What a reader was not told of, because it took nothing or has to be told everything first. The next look tells of all
/// but what is gone by then.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    /// Open still, as far as is known.
    opened: HashSet<SocketId>,
}

impl Unheard {
    /// Takes in what was not told, and returns how many events of it no look will tell.
    pub(super) fn take_in(&mut self, events: &[Event]) -> u64 {
        let mut passed = 0;
        for event in events {
            match event {
                Event::Opened(listener) => drop(self.opened.insert(listener.id)),
                Event::Closed(id, _) if self.opened.remove(id) => passed += 2,
                Event::Closed(..) | Event::Changed(_) => {}
            }
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use inventory::{Listener, Protocol};

    use super::*;
    use crate::testing::listener as any;

    fn listener(cookie: u64) -> Listener {
        any(Protocol::Tcp, cookie, 80, &[])
    }

    #[test]
    fn what_came_and_went_untold_is_counted_however_it_was_batched() {
        let opened = |cookie| Event::Opened(listener(cookie));
        let closed = |cookie| Event::Closed(listener(cookie).id, SystemTime::UNIX_EPOCH);
        let mut unheard = Unheard::default();
        assert_eq!(unheard.take_in(&[opened(1), opened(2), closed(1), opened(3)]), 2);
        assert_eq!(unheard.take_in(&[closed(2), closed(1), closed(4)]), 2, "4 was told to be open");
        assert_eq!(unheard.take_in(&[closed(2)]), 0, "once");
    }
}
