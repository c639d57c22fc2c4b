//! Which namespace is the one that was seen before.

use std::collections::HashMap;

use inventory::NetNsId;

/// For kernels without cookies: the inodes of the last two passes. Each first sight after an absence gets a number that
/// no sight had before, so nothing need be remembered of what is gone.
#[derive(Debug, Default)]
pub(super) struct Identities {
    sights: HashMap<u64, Sight>,
    given: u32,
    pass: u64,
}

#[derive(Debug)]
struct Sight {
    generation: u32,
    pass: u64,
}

impl Identities {
    /// Forgets what the last pass did not see.
    pub(super) fn begin_pass(&mut self) {
        let last = self.pass;
        self.sights.retain(|_, sight| sight.pass == last);
        self.pass += 1;
    }

    /// `cookie` is what the kernel gave, if it knows cookies.
    pub(super) fn identify(&mut self, cookie: Option<u64>, inode: u64) -> NetNsId {
        if let Some(cookie) = cookie {
            return NetNsId::Cookie(cookie);
        }
        let given = &mut self.given;
        let sight = self.sights.entry(inode).or_insert_with(|| {
            *given = given.saturating_add(1);
            Sight { generation: *given, pass: 0 }
        });
        sight.pass = self.pass;
        NetNsId::Inode { inode, generation: sight.generation }
    }
}

#[cfg(test)]
mod tests {
    use inventory::NetNsId;

    use super::Identities;

    #[test]
    fn an_inode_that_was_away_is_another_namespace() {
        let mut identities = Identities::default();
        let mut pass = |inodes: &[u64]| {
            identities.begin_pass();
            inodes.iter().map(|inode| identities.identify(None, *inode)).collect::<Vec<NetNsId>>()
        };
        let first = pass(&[7, 8]);
        assert_eq!(pass(&[7, 8]), first);
        assert_eq!(pass(&[8]), first[1..]);
        let back = pass(&[7, 8]);
        assert_ne!(back[0], first[0]);
        assert_eq!(back[1], first[1]);
        assert_eq!(pass(&[7, 8]), back);
    }

    #[test]
    fn a_cookie_is_never_given_twice() {
        assert_eq!(Identities::default().identify(Some(4096), 7), NetNsId::Cookie(4096));
    }
}
