//! What a collector of sockets is, and which collectors there are.

use std::net::{IpAddr, SocketAddr};

use inventory::{Gap, Protocol, RawText, Scope, Share};

use crate::portable::Portable;
use crate::proc_net::ProcNet;
use crate::protocols::{Family, Protocols};
use crate::sock_diag::SockDiag;

/// A socket that waits for others, as the kernel tells it: in LISTEN, or unconnected where there are no connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    /// The table that it stands in.
    pub protocol: Protocol,
    /// The bound address, v4-mapped ones as the kernel gives them.
    pub address: IpAddr,
    /// Further bound addresses, which only SCTP has. Reach is the widest over all of them.
    pub more_addresses: Vec<IpAddr>,
    /// In host byte order; of a raw socket the IP protocol number.
    pub port: u16,
    /// `SO_BINDTODEVICE`; 0 for none, or where the collector cannot tell.
    pub device_index: u32,
    /// In sockfs; 0 for a socket of the kernel's own.
    pub inode: u64,
    /// `SO_COOKIE`; 0 where the collector cannot tell.
    pub cookie: u64,
    /// The uid that the kernel accounts the socket to.
    pub uid: u32,
    /// `IPV6_V6ONLY`; `None` of a v4 socket, and where the collector cannot tell.
    pub ipv6_only: Option<bool>,
    /// What `listen(2)` was given, as the kernel bounded it; `None` without connections, or where not told.
    pub backlog: Option<u32>,
    /// The cgroup (v2) that made the socket, where the kernel tells it.
    pub cgroup_id: Option<u64>,
    /// `SO_REUSEPORT`; `None` where the collector cannot tell.
    pub reuse_port: Option<bool>,
    /// The program named the port; `None` where the collector cannot tell.
    pub asked_for_port: Option<bool>,
    /// Of a UDP socket that was bound and then connected.
    pub peer: Option<SocketAddr>,
}

/// The sockets of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sockets {
    /// Each once, in no order.
    pub found: Vec<Socket>,
    /// What may be missing from `found`, or be told of it less than whole; whoever entered the namespace names it.
    pub gaps: Vec<Gap>,
    /// Tables dumped whole, of those that the kernel has.
    pub tables: Share,
}

/// The table of one protocol and family, as far as a collector could read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// The sockets that were read.
    pub found: Vec<Socket>,
    /// What is not known of this table. Without a flaw of scope [`Scope::Sockets`] the table is whole.
    pub flaws: Vec<Flaw>,
}

/// Something that a collector cannot tell of a table that it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// [`Scope::Sockets`] where a socket may be missing.
    pub scope: Scope,
    /// A sentence for a person.
    pub reason: String,
}

/// The flaw of a table that was cut at the room there was: the same words everywhere, so that it is told once.
pub(crate) const NO_ROOM: &str = "there are more sockets than one pass keeps";

/// Why a collector does not serve a table at all.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Refusal {
    /// What failed, on what, and what would mend it.
    pub reason: String,
    /// It is so in every namespace: asking again would make the kernel start modprobe again.
    pub everywhere: bool,
}

impl Refusal {
    /// Of this namespace; the next may differ.
    pub(crate) fn here(reason: String) -> Self {
        Refusal { reason, everywhere: false }
    }
}

/// A way to read socket tables of the namespace that the calling thread is in. It is made when a namespace is entered
/// and dropped when it is left, so nothing that it opens outlives the visit.
pub(crate) trait SocketCollector {
    /// What gaps call it.
    fn name(&self) -> &'static str;

    /// Reads one table. `room` is how many sockets may be returned; more are a flaw.
    fn table(&mut self, protocol: Protocol, family: Family, room: usize) -> Result<Table, Refusal>;
}

/// The collectors, best first: the first that serves a table wins it.
pub(crate) fn collectors() -> [Box<dyn SocketCollector>; 3] {
    [Box::new(SockDiag::open()), Box::new(Portable), Box::new(ProcNet::of_this_thread())]
}

/// Reading the tables of one namespace after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pass {
    refused_everywhere: Vec<(&'static str, Protocol, Family, Refusal)>,
}

impl Pass {
    /// Reads every table that the kernel has from the first collector that serves it.
    pub(crate) fn collect(
        &mut self,
        collectors: &mut [Box<dyn SocketCollector>],
        protocols: &Protocols,
        room: usize,
    ) -> Sockets {
        let mut sockets = Sockets { found: Vec::new(), gaps: Vec::new(), tables: Share { seen: 0, of: 0 } };
        let mut without_tcp = Vec::new();
        for (protocol, families) in protocols.iter() {
            let mut whole = true;
            for family in families {
                // An MPTCP listener has a subflow in the TCP table, which was just read and is told beside it, as ss
                // does; the kernel takes 5 times as long for its own table.
                if protocol == Protocol::Mptcp && without_tcp.contains(family) {
                    continue;
                }
                let left = room.saturating_sub(sockets.found.len());
                let (served_by, table) = self.first_that_serves(collectors, protocol, *family, left);
                let family_whole = table.flaws.iter().all(|flaw| flaw.scope != Scope::Sockets);
                if protocol == Protocol::Tcp && family_whole && table.found.is_empty() {
                    without_tcp.push(*family);
                }
                whole &= family_whole;
                sockets.found.extend(table.found);
                for flaw in table.flaws {
                    add_gap(&mut sockets.gaps, served_by, protocol, flaw);
                }
            }
            sockets.tables.of += 1;
            sockets.tables.seen += u32::from(whole);
        }
        sockets
    }

    /// The first collector's table, and its name. What the one before it refused is told with every flaw; where none
    /// serves, all their refusals are the flaw.
    fn first_that_serves(
        &mut self,
        collectors: &mut [Box<dyn SocketCollector>],
        protocol: Protocol,
        family: Family,
        room: usize,
    ) -> (&'static str, Table) {
        let mut refused: Vec<(&'static str, Refusal)> = Vec::new();
        for collector in collectors {
            match self.ask(collector.as_mut(), protocol, family, room) {
                Ok(mut table) => {
                    if let Some((name, refusal)) = refused.first() {
                        for flaw in &mut table.flaws {
                            flaw.reason = format!("{}; asked because {name} failed: {refusal}", flaw.reason);
                        }
                    }
                    return (collector.name(), table);
                }
                Err(refusal) => refused.push((collector.name(), refusal)),
            }
        }
        let reasons: Vec<String> =
            refused.iter().map(|(name, refusal)| format!("{name}: {refusal}")).collect();
        let flaw = Flaw { scope: Scope::Sockets, reason: reasons.join("; ") };
        let name = refused.first().map_or("none", |(name, _)| *name);
        (name, Table { found: Vec::new(), flaws: vec![flaw] })
    }

    fn ask(
        &mut self,
        collector: &mut dyn SocketCollector,
        protocol: Protocol,
        family: Family,
        room: usize,
    ) -> Result<Table, Refusal> {
        let name = collector.name();
        let mut known = self.refused_everywhere.iter();
        let same = |(by, of, over, _): &&(_, _, _, _)| (*by, *of, *over) == (name, protocol, family);
        if let Some((_, _, _, refusal)) = known.find(same) {
            return Err(refusal.clone());
        }
        let answer = collector.table(protocol, family, room);
        if let Some(refusal) = answer.as_ref().err().filter(|refusal| refusal.everywhere) {
            self.refused_everywhere.push((name, protocol, family, refusal.clone()));
        }
        answer
    }
}

/// Both families often lack the same thing, which is told once.
fn add_gap(gaps: &mut Vec<Gap>, collector: &str, protocol: Protocol, flaw: Flaw) {
    let gap = Gap {
        collector: collector.to_owned(),
        scope: flaw.scope,
        protocol: Some(protocol),
        netns: None,
        reason: RawText::new(flaw.reason.into_bytes()),
    };
    if !gaps.contains(&gap) {
        gaps.push(gap);
    }
}

#[cfg(test)]
mod tests;
