use std::cmp::Ordering;

use crate::{Approval, Baseline};

/// An approval that one baseline has otherwise than another, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalChange {
    /// As it was; `None` where it is new.
    pub old: Option<Approval>,
    /// As it is; `None` where it is gone.
    pub new: Option<Approval>,
}

impl ApprovalChange {
    /// The approval, as it is or last was.
    pub fn approval(&self) -> Option<&Approval> {
        self.new.as_ref().or(self.old.as_ref())
    }
}

/// In which approvals the second baseline differs from the first, ordered by id.
pub fn changes(old: &Baseline, new: &Baseline) -> Vec<ApprovalChange> {
    let (mut old, mut new) = (old.approvals().iter().peekable(), new.approvals().iter().peekable());
    let mut all = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some(old), Some(new)) => old.id.cmp(&new.id),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return all,
        };
        let (was, is) = match order {
            Ordering::Less => (old.next(), None),
            Ordering::Greater => (None, new.next()),
            Ordering::Equal => (old.next(), new.next()),
        };
        if was != is {
            all.push(ApprovalChange { old: was.cloned(), new: is.cloned() });
        }
    }
}
