use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::SystemTime;

use inventory::{Happening, Listener, NetNs, NetNsId, SocketId};

use crate::snapshot::Counts;

/// Of how many sockets of a crowd that came and went each is told, where not all can be.
const KEPT: usize = 100;

/// Who opens sockets: anybody can choose ports, addresses and programs by the thousand, but not his uid.
pub(crate) type Opener = (NetNsId, u32);

pub(crate) fn opener(listener: &Listener) -> Opener {
    (listener.id.netns, listener.uid)
}

/// Sockets of one opener that came and went and were not held against the baseline, told together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Crowd {
    pub(crate) netns: NetNs,
    pub(crate) uid: u32,
    pub(crate) sockets: u64,
    /// The lowest and the highest.
    pub(crate) ports: (u16, u16),
    /// When the first of them was there, and the last.
    pub(crate) time: (SystemTime, SystemTime),
}

impl Crowd {
    /// Of none yet, to which this one belongs.
    pub(crate) fn of(listener: &Listener, at: SystemTime) -> Self {
        let (netns, uid, port) = (listener.netns.clone(), listener.uid, listener.endpoint.port);
        Crowd { netns, uid, sockets: 0, ports: (port, port), time: (at, at) }
    }

    /// One that ended at this moment.
    pub(crate) fn add(&mut self, listener: &Listener, at: SystemTime) {
        let (port, since) = (listener.endpoint.port, listener.since.unwrap_or(at));
        self.sockets += 1;
        self.ports = (self.ports.0.min(port), self.ports.1.max(port));
        self.time = (self.time.0.min(since), self.time.1.max(at));
    }
}

/// What came and went and is judged by nobody, for want of time.
#[derive(Default)]
pub(crate) struct LeftOut {
    pub(crate) crowds: BTreeMap<Opener, Crowd>,
    pub(crate) counts: Counts,
}

impl LeftOut {
    /// Takes sockets that opened and closed in it, of each opener all but the first few. Returns how many. What was there
    /// before, and what is there at the end, stays.
    pub(crate) fn take_from(&mut self, happened: &mut Vec<Happening>) -> u64 {
        let doomed = doomed(happened);
        if doomed.is_empty() {
            return 0;
        }
        let (gone, rest) = std::mem::take(happened)
            .into_iter()
            .partition::<Vec<_>, _>(|happening| doomed.contains(&happening.id()));
        *happened = rest;
        self.counts.count(&gone);
        let ends = gone.iter().filter_map(|happening| match happening {
            Happening::Closed { listener, at } => Some((listener, *at)),
            Happening::Opened(_) | Happening::Changed { .. } => None,
        });
        let mut sockets = 0;
        for (listener, at) in ends {
            let crowd = self.crowds.entry(opener(listener)).or_insert_with(|| Crowd::of(listener, at));
            crowd.add(listener, at);
            sockets += 1;
        }
        sockets
    }
}

/// Sockets that were not there before and are gone at the end, of each opener all but the first few.
fn doomed(happened: &[Happening]) -> HashSet<SocketId> {
    let mut lives: HashMap<SocketId, (bool, bool)> = HashMap::new();
    for happening in happened {
        let opens = matches!(happening, Happening::Opened(_));
        let (_, gone) = lives.entry(happening.id()).or_insert((opens, false));
        *gone = matches!(happening, Happening::Closed { .. });
    }
    let mut kept: HashMap<Opener, usize> = HashMap::new();
    let mut doomed = HashSet::new();
    for happening in happened {
        let Happening::Opened(listener) = happening else { continue };
        // Of one that opened again the first opening counts.
        if lives.remove(&listener.id) != Some((true, true)) {
            continue;
        }
        let kept = kept.entry(opener(listener)).or_default();
        *kept += 1;
        if *kept > KEPT {
            doomed.insert(listener.id);
        }
    }
    doomed
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use std::time::Duration;

    use inventory::{Holders, Protocol};

    use super::*;
    use crate::fixtures::{self, now};

    fn socket(cookie: u64, uid: u32) -> Arc<Listener> {
        let holders = Holders::Known(vec![fixtures::holder(b"/opt/churn")]);
        let port = 1_000 + u16::try_from(cookie).unwrap();
        Listener { uid, ..fixtures::listener(cookie, Protocol::Tcp, Ipv4Addr::LOCALHOST, port, holders) }
            .into()
    }

    fn opens(socket: &Arc<Listener>) -> Happening {
        Happening::Opened(socket.clone())
    }

    fn closes(socket: &Arc<Listener>) -> Happening {
        Happening::Closed { listener: socket.clone(), at: now() + Duration::from_secs(socket.id.cookie) }
    }

    #[test]
    fn of_each_opener_the_first_stay_and_the_others_are_told_together() {
        let mut happened = Vec::new();
        for cookie in 1..=300 {
            let socket = socket(cookie, 65_534);
            happened.extend([opens(&socket), closes(&socket)]);
        }
        let (other, lives, there, again) =
            (socket(400, 1_000), socket(401, 65_534), socket(402, 65_534), socket(403, 65_534));
        let others = [
            opens(&other),
            closes(&other),
            opens(&lives),
            closes(&there),
            opens(&there),
            closes(&there),
            opens(&again),
            closes(&again),
            opens(&again),
        ];
        happened.extend(others.clone());
        let mut left_out = LeftOut::default();
        assert_eq!(left_out.take_from(&mut happened), 200);
        assert_eq!(happened.len(), 200 + others.len());
        assert!(happened.ends_with(&others), "one's own, what is there, and what was there before");
        let crowd = &left_out.crowds[&opener(&lives)];
        assert_eq!((crowd.sockets, crowd.ports), (200, (1_101, 1_300)));
        assert_eq!(crowd.time, (now(), now() + Duration::from_secs(300)));
        assert_eq!(left_out.counts.closed[&Protocol::Tcp], 200);
        assert_eq!(left_out.take_from(&mut happened), 0, "it is done once");
    }
}
