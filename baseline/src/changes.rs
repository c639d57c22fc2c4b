use std::cmp::Ordering;

use crate::{Approval, Baseline, Standing};

/// An approval that one baseline has otherwise than another, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalChange {
    /// As it was; `None` where it is new.
    pub old: Option<Approval>,
    /// As it is; `None` where it is gone.
    pub new: Option<Approval>,
    /// Why it does not count as it is, a sentence.
    pub distrust: Option<String>,
}

impl ApprovalChange {
    /// The approval, as it is or last was.
    pub fn approval(&self) -> Option<&Approval> {
        self.new.as_ref().or(self.old.as_ref())
    }
}

/// In which approvals the second baseline differs from the first, or in whether they count, ordered by id.
pub fn changes(old: &Baseline, new: &Baseline) -> Vec<ApprovalChange> {
    let (mut old, mut new) = (old.standings().peekable(), new.standings().peekable());
    let mut all = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some((old, _)), Some((new, _))) => old.id.cmp(&new.id),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return all,
        };
        let (was, is) = match order {
            Ordering::Less => (old.next(), None),
            Ordering::Greater => (None, new.next()),
            Ordering::Equal => (old.next(), new.next()),
        };
        let told = |(approval, standing): (_, &Standing)| (approval, standing.distrust.clone());
        let (was, is) = (was.map(told), is.map(told));
        if was != is {
            let of = |(approval, _): (&Approval, _)| approval.clone();
            let distrust = is.as_ref().and_then(|(_, distrust)| distrust.as_ref()).map(ToString::to_string);
            all.push(ApprovalChange { old: was.map(of), new: is.map(of), distrust });
        }
    }
}
