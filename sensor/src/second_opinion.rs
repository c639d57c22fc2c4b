use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use inventory::{Inventory, NetNsKind, Protocol, RawText};
use netstat2::{AddressFamilyFlags, ProtocolFlags, ProtocolSocketInfo, TcpState, get_sockets_info};

use crate::Sensor;

/// A socket as both can name it: protocol, address, port.
type Key = (Protocol, IpAddr, u16);
/// The sockets of this network namespace, each with all its holders' pids.
type View = BTreeMap<Key, BTreeSet<u32>>;

/// Something in which two ways of looking differ, before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disagreement {
    /// `netstat2` sees a socket that we do not.
    OnlyTheirs(Protocol, IpAddr, u16),
    /// We see a socket that `netstat2` does not.
    OnlyOurs(Protocol, IpAddr, u16),
    /// `netstat2` names a holder that we do not.
    Holder(Protocol, IpAddr, u16, u32),
}

/// Why there is no second opinion.
#[derive(Debug, thiserror::Error)]
#[error("netstat2 could not read the socket tables: {reason}")]
pub struct NoSecondOpinion {
    /// As the crate says it, escaped.
    reason: String,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Disagreement::OnlyTheirs(protocol, address, port) => {
                write!(f, "{protocol} {address} port {port}: netstat2 sees it, we do not")
            }
            Disagreement::OnlyOurs(protocol, address, port) => {
                write!(f, "{protocol} {address} port {port}: we see it, netstat2 does not")
            }
            Disagreement::Holder(protocol, address, port, pid) => {
                write!(
                    f,
                    "{protocol} {address} port {port}: netstat2 names process {pid} as a holder, we do not"
                )
            }
        }
    }
}

/// Holds our view of this network namespace against that of the crate `netstat2`. What came or went in between is no
/// disagreement: a difference counts only against what we saw both before and after.
pub fn second_opinion(sensor: &mut Sensor) -> Result<Vec<Disagreement>, NoSecondOpinion> {
    let before = ours(&sensor.pass());
    let theirs = theirs()?;
    let after = ours(&sensor.pass());
    Ok(disagreements(&before, &theirs, &after))
}

fn disagreements(before: &View, theirs: &View, after: &View) -> Vec<Disagreement> {
    let mut found = Vec::new();
    for (key @ &(protocol, address, port), pids) in theirs {
        let Some(held) = before.get(key).or_else(|| after.get(key)) else {
            // netstat2 lists connected UDP sockets too and cannot tell them: these are clients.
            if protocol == Protocol::Tcp {
                found.push(Disagreement::OnlyTheirs(protocol, address, port));
            }
            continue;
        };
        let held_after = after.get(key);
        let unknown = |pid: &&u32| !held.contains(pid) && held_after.is_none_or(|held| !held.contains(pid));
        if protocol == Protocol::Tcp {
            found.extend(
                pids.iter().filter(unknown).map(|pid| Disagreement::Holder(protocol, address, port, *pid)),
            );
        }
    }
    let stayed = before.keys().filter(|key| after.contains_key(*key));
    let missed = stayed.filter(|key| !theirs.contains_key(*key));
    found.extend(missed.map(|&(protocol, address, port)| Disagreement::OnlyOurs(protocol, address, port)));
    found
}

fn ours(inventory: &Inventory) -> View {
    let mut view = View::new();
    let here = inventory.listeners.iter().filter(|listener| listener.netns.kind == NetNsKind::Host);
    for listener in here {
        let endpoint = &listener.endpoint;
        if matches!(endpoint.protocol, Protocol::Tcp | Protocol::Udp) {
            let pids = view.entry((endpoint.protocol, endpoint.address, endpoint.port)).or_default();
            pids.extend(listener.holders.known().iter().map(|holder| holder.id.pid));
        }
    }
    view
}

fn theirs() -> Result<View, NoSecondOpinion> {
    let families = AddressFamilyFlags::IPV4 | AddressFamilyFlags::IPV6;
    let sockets = get_sockets_info(families, ProtocolFlags::TCP | ProtocolFlags::UDP)
        .map_err(|error| NoSecondOpinion { reason: RawText::from(error.to_string().as_str()).escaped() })?;
    let mut view = View::new();
    for socket in sockets {
        let key = match socket.protocol_socket_info {
            ProtocolSocketInfo::Tcp(tcp) if tcp.state == TcpState::Listen => {
                (Protocol::Tcp, tcp.local_addr, tcp.local_port)
            }
            ProtocolSocketInfo::Tcp(_) => continue,
            ProtocolSocketInfo::Udp(udp) => (Protocol::Udp, udp.local_addr, udp.local_port),
        };
        view.entry(key).or_default().extend(socket.associated_pids);
    }
    Ok(view)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

    fn view(sockets: &[(Protocol, u16, &[u32])]) -> View {
        let entry = |(protocol, port, pids): &(Protocol, u16, &[u32])| {
            ((*protocol, ANY, *port), pids.iter().copied().collect())
        };
        sockets.iter().map(entry).collect()
    }

    #[test]
    fn differences_that_stay_are_told() {
        let ours = view(&[(Protocol::Tcp, 22, &[1, 2]), (Protocol::Udp, 53, &[3])]);
        let theirs =
            view(&[(Protocol::Tcp, 22, &[2, 9]), (Protocol::Tcp, 80, &[4]), (Protocol::Udp, 4000, &[5])]);
        let told = disagreements(&ours, &theirs, &ours);
        let expected = [
            Disagreement::Holder(Protocol::Tcp, ANY, 22, 9),
            Disagreement::OnlyTheirs(Protocol::Tcp, ANY, 80),
            Disagreement::OnlyOurs(Protocol::Udp, ANY, 53),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_came_or_went_in_between_is_not() {
        let (gone, come) = (view(&[(Protocol::Tcp, 1, &[1])]), view(&[(Protocol::Tcp, 2, &[1])]));
        let both = view(&[(Protocol::Tcp, 1, &[1]), (Protocol::Tcp, 2, &[1])]);
        assert_eq!(disagreements(&gone, &both, &come), []);
        assert_eq!(disagreements(&gone, &View::new(), &come), []);
    }
}
