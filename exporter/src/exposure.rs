//! What we ourselves open to others: our own listeners, as the inventory has them.

use std::net::SocketAddr;

use inventory::{Inventory, Listener, Reach};

/// A socket that we serve HTTP on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exposure {
    pub(crate) endpoint: SocketAddr,
    /// As the inventory tells it; `None` where it does not have it.
    pub(crate) reach: Option<Reach>,
    /// Somebody on another host can reach it. Where nobody has seen how far it reaches, its address says so.
    pub(crate) beyond_loopback: bool,
}

impl Exposure {
    pub(crate) fn of(endpoint: SocketAddr, pid: u32, inventory: Option<&Inventory>) -> Self {
        let listeners = inventory.map(|inventory| inventory.listeners.iter());
        let reach = listeners.into_iter().flatten().filter(|listener| is_it(listener, endpoint, pid));
        // The same address in two namespaces of ours: the wider one counts.
        let reach = reach.map(|listener| listener.reach).max();
        let beyond_loopback = match reach {
            Some(reach) => !matches!(reach, Reach::Isolated | Reach::Loopback),
            None => !endpoint.ip().to_canonical().is_loopback(),
        };
        Exposure { endpoint, reach, beyond_loopback }
    }
}

fn is_it(listener: &Listener, endpoint: SocketAddr, pid: u32) -> bool {
    (listener.endpoint.address, listener.endpoint.port) == (endpoint.ip(), endpoint.port())
        && listener.holders.known().iter().any(|holder| holder.id.pid == pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_by_address_and_process() {
        let snapshot = crate::judge::tests::snapshot_of_the_fixture();
        let inventory = &snapshot.judged.as_deref().unwrap().inventory;
        let held = inventory.listeners.iter().find(|listener| !listener.holders.known().is_empty()).unwrap();
        let endpoint = SocketAddr::new(held.endpoint.address, held.endpoint.port);
        let pid = held.holders.known()[0].id.pid;
        let found = Exposure::of(endpoint, pid, Some(inventory));
        assert_eq!(found.reach, Some(held.reach));
        let strangers = Exposure::of(endpoint, pid + 1, Some(inventory));
        assert_eq!(strangers.reach, None);
    }

    #[test]
    fn what_nobody_saw_is_not_safe() {
        for (text, beyond) in [
            ("127.0.0.1:1", false),
            ("[::1]:1", false),
            ("[::ffff:127.0.0.1]:1", false),
            ("0.0.0.0:1", true),
            ("[::]:1", true),
            ("10.0.0.1:1", true),
        ] {
            let found = Exposure::of(text.parse().unwrap(), 1, None);
            assert_eq!((found.reach, found.beyond_loopback), (None, beyond), "{text}");
        }
    }
}
