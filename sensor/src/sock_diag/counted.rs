//! Whether the kernel counts any MPTCP socket in a namespace: its dump locks every bucket of the table of TCP listeners,
//! some 16,000 of them, and takes 5 times as long as all the others where nothing is to be found.

use std::path::Path;

use inventory::Protocol;

use crate::protocols::{Family, in_use, read_bounded};

/// Counts are of the namespace that the calling thread is in.
const PROTOCOLS: &str = "/proc/thread-self/net/protocols";

/// Older kernels count no MPTCP sockets, or only some (`sock_prot_inuse_add` in net/mptcp).
const COUNTS_SINCE: (u32, u32) = (6, 6);

/// The kernel tells that the calling thread's namespace has no MPTCP socket of that family, in whatever state. A count is
/// summed up processor by processor, so one that is opened on one and closed on another meanwhile may be subtracted
/// only: no two sums are wrong alike.
pub(super) fn is_without_mptcp(family: Family) -> bool {
    let counts_none = || {
        let table = read_bounded(Path::new(PROTOCOLS)).unwrap_or_default();
        in_use(&table, Protocol::Mptcp, family) == Some(0)
    };
    counts(rustix::system::uname().release().to_bytes()) && counts_none() && counts_none()
}

/// A kernel of that release counts every MPTCP socket.
fn counts(release: &[u8]) -> bool {
    let mut numbers =
        release.split(|byte| !byte.is_ascii_digit()).map(|digits| str::from_utf8(digits).ok()?.parse().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= COUNTS_SINCE,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn only_a_kernel_known_to_count_is_believed() {
        for (release, is_believed) in [
            ("6.18.44-fc-v669", true),
            ("6.6.0", true),
            ("7.0-rc1", true),
            ("6.5.13", false),
            ("5.14.0-611.el9.x86_64", false),
            ("6", false),
            ("", false),
        ] {
            assert_eq!(counts(release.as_bytes()), is_believed, "{release}");
        }
    }
}
