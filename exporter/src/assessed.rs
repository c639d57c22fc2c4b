use std::time::SystemTime;

use baseline::{Accounts, Assessment, Before, Judged, Policy, assess, reassess};
use inventory::{Happening, Inventory, Listener, SocketId};

use crate::AccountBook;
use crate::passing::passing;

/// Sockets with what the baseline says of them. Its inventory is ordered by socket; of what has passed, one socket may
/// be in it more than once, as it was one time after the other.
pub(crate) struct Assessed {
    pub(crate) inventory: Inventory,
    pub(crate) assessment: Assessment,
    pub(crate) accounts: Accounts,
}

impl Assessed {
    /// Judges what is there; at the cost of what differs where it is known what was there `before`, by the same policy.
    pub(crate) fn present(
        before: Option<&Assessed>,
        inventory: Inventory,
        policy: &Policy,
        book: &mut AccountBook,
        now: SystemTime,
    ) -> Self {
        let accounts = book.resolve(&inventory, &policy.baseline);
        let assessment = match before {
            Some(Assessed { inventory: known, assessment, accounts: by }) => {
                let before = Before { inventory: known, assessment, accounts: by };
                reassess(before, &inventory, policy, &accounts, now)
            }
            None => assess(&inventory, policy, &accounts, now),
        };
        Assessed { inventory, assessment, accounts }
    }

    /// Judges what no inventory has any more, as if it were there. `None` where there is nothing of that kind.
    pub(crate) fn past(
        inventory: &Inventory,
        happened: &[Happening],
        policy: &Policy,
        book: &mut AccountBook,
        now: SystemTime,
    ) -> Option<Self> {
        let listeners = passing(happened);
        if listeners.is_empty() {
            return None;
        }
        let inventory = Inventory {
            host: inventory.host.clone(),
            taken_at: inventory.taken_at,
            listeners,
            coverage: inventory.coverage.clone(),
        };
        // Accounts of their own: with others, all that listens would have to be judged again.
        Some(Assessed::present(None, inventory, policy, book, now))
    }

    /// What is said of a socket; where it is there more than once, of how it was first.
    pub(crate) fn of(&self, id: SocketId) -> Option<&Judged> {
        let listeners = &self.inventory.listeners;
        let place = listeners.partition_point(|other| other.id < id);
        listeners.get(place).filter(|found| found.id == id)?;
        self.at(place)
    }

    /// What is said of a socket as it was when it was exactly so.
    pub(crate) fn exactly(&self, listener: &Listener) -> Option<&Judged> {
        let listeners = &self.inventory.listeners;
        let first = listeners.partition_point(|other| other.id < listener.id);
        let same = listeners.get(first..)?.iter().take_while(|other| other.id == listener.id);
        let place = first + same.enumerate().find(|(_, other)| ***other == *listener)?.0;
        self.at(place)
    }

    fn at(&self, place: usize) -> Option<&Judged> {
        self.assessment.services.get(*self.assessment.service_of.get(place)?)
    }
}
