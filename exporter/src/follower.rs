use std::sync::Arc;
use std::time::{Duration, SystemTime};

use baseline::{Accounts, Assessment, Judged, Policy, ServiceId, Verdict};
use inventory::frame::{Assembler, BrokenFrame, BrokenPass, Pass, Tells, decode};
use inventory::{Happening, Inventory, Listener};

use crate::AccountBook;
use crate::assessed::Assessed;

/// The sensor told something from which one cannot go on.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum OutOfStep {
    #[error("a frame of the sensor cannot be read: {0}")]
    Frame(#[from] BrokenFrame),
    #[error("what the sensor told does not fit what it told before: {0}")]
    Pass(#[from] BrokenPass),
}

/// Takes the frames of a sensor and says what happened, each with what the baseline says of it: for somebody who watches.
/// Nothing is kept of what has been told.
pub struct Follower {
    policy: Policy,
    accounts: AccountBook,
    assembler: Assembler,
    now: Option<Assessed>,
    /// What was taken and not told yet.
    happened: Vec<Happening>,
    seen: Vec<Seen>,
    arrived: Option<Arrived>,
    lost_before: u64,
    lost: u64,
}

/// How something came to be known.
#[derive(Clone, Copy)]
struct Seen {
    at: SystemTime,
    by_look: bool,
}

/// What arrived since the last news, besides what happened.
#[derive(Clone, Copy, Default)]
struct Arrived {
    first: bool,
    covers_otherwise: bool,
}

/// All that was told since the news before.
pub struct News {
    /// These are the first: what listens by now was there before.
    pub first: bool,
    /// Something else is seen or not seen than before.
    pub covers_otherwise: bool,
    /// So many events were lost since: of what they would have told, only what lasts until the next look is found.
    pub lost: u64,
    /// In its order.
    pub happened: Vec<Witnessed>,
}

/// Something that happened to a socket, judged.
pub struct Witnessed {
    /// What.
    pub what: Happening,
    /// A look found it: it happened at some time since the look before.
    pub by_look: bool,
    /// What the baseline says of the socket as it was then.
    pub verdict: Verdict,
    /// The service that it belonged to.
    pub service: Option<ServiceId>,
    /// The names of its holders' users.
    pub accounts: Arc<Accounts>,
    /// When the look was, or when the event was told.
    pub seen_at: SystemTime,
}

impl Follower {
    /// Judges by `policy`, and has been told nothing yet.
    pub fn new(policy: Policy) -> Self {
        let (accounts, assembler, now, happened, seen, arrived) = Default::default();
        Follower { policy, accounts, assembler, now, happened, seen, arrived, lost_before: 0, lost: 0 }
    }

    /// Takes a packet of the sensor's socket.
    pub fn take(&mut self, packet: &[u8]) -> Result<(), OutOfStep> {
        for message in decode(packet)? {
            if let Some(pass) = self.assembler.take(message?)? {
                self.add(pass);
            }
        }
        Ok(())
    }

    fn add(&mut self, pass: Pass) {
        let seen = Seen { at: pass.taken_at, by_look: pass.tells != Tells::Events };
        self.seen.extend(pass.happened.iter().map(|_| seen));
        self.happened.extend(pass.happened);
        // A sensor that lies may count beyond all that there can be.
        self.lost = self.lost.saturating_add(pass.closing.lost.saturating_sub(self.lost_before));
        self.lost_before = pass.closing.lost;
        let arrived = self.arrived.get_or_insert_default();
        arrived.first |= pass.first;
        arrived.covers_otherwise |= pass.covers_otherwise;
    }

    /// How much was taken that is not told yet.
    pub fn waiting(&self) -> usize {
        self.happened.len()
    }

    /// Judges what was taken since the last time. `None` where that is nothing.
    pub fn news(&mut self, now: SystemTime) -> Option<News> {
        let Arrived { first, covers_otherwise } = self.arrived.take()?;
        let happened = std::mem::take(&mut self.happened);
        let seen = std::mem::take(&mut self.seen);
        let lost = std::mem::take(&mut self.lost);
        let happened = if first || covers_otherwise || !happened.is_empty() {
            self.judge(happened, &seen, now)
        } else {
            Vec::new()
        };
        Some(News { first, covers_otherwise, lost, happened })
    }

    fn judge(&mut self, happened: Vec<Happening>, seen: &[Seen], now: SystemTime) -> Vec<Witnessed> {
        let Some(inventory) = self.assembler.inventory() else { return Vec::new() };
        let past = Assessed::past(&inventory, &happened, &self.policy, &mut self.accounts, now);
        let before = self.now.take();
        let present = Assessed::present(before.as_ref(), inventory, &self.policy, &mut self.accounts, now);
        let known = Known::new([past, Some(present), before]);
        let witnessed =
            happened.into_iter().zip(seen).filter_map(|(what, seen)| known.witnessed(what, *seen)).collect();
        self.now = known.into_present();
        witnessed
    }

    /// Judges by another policy from now on.
    pub fn judge_by(&mut self, policy: Policy, now: SystemTime) {
        self.policy = policy;
        let inventory = self.now.take().map(|known| known.inventory);
        self.now = inventory
            .map(|inventory| Assessed::present(None, inventory, &self.policy, &mut self.accounts, now));
    }

    /// What is judged by.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What listens, and what is said of it; `None` until the first news.
    pub fn present(&self) -> Option<(&Inventory, &Assessment, &Accounts)> {
        self.now.as_ref().map(|now| (&now.inventory, &now.assessment, &now.accounts))
    }
}

/// What was judged around something that happened: what has passed, what is there, what was there before it.
struct Known {
    assessed: [Option<Assessed>; 3],
    accounts: [Arc<Accounts>; 3],
}

impl Known {
    fn new(mut assessed: [Option<Assessed>; 3]) -> Self {
        let accounts = assessed.each_mut().map(|assessed| {
            let accounts = assessed.as_ref().map(|assessed| assessed.accounts.clone());
            Arc::new(accounts.unwrap_or_default())
        });
        Known { assessed, accounts }
    }

    fn into_present(self) -> Option<Assessed> {
        let [_, present, _] = self.assessed;
        present
    }

    /// `None` of a change that nobody would see.
    fn witnessed(&self, what: Happening, seen: Seen) -> Option<Witnessed> {
        if matches!(&what, Happening::Changed { before, after } if differences(before, after).is_empty()) {
            return None;
        }
        let listener = subject(&what);
        let found = self.find(|assessed| assessed.exactly(listener));
        let found = found.or_else(|| self.find(|assessed| assessed.of(listener.id)));
        let (verdict, service, accounts) = match found {
            Some((judged, accounts)) => {
                (judged.verdict.clone(), Some(judged.service.id.clone()), accounts.clone())
            }
            None => (Verdict::Unjudged, None, Arc::default()),
        };
        Some(Witnessed { by_look: seen.by_look, seen_at: seen.at, what, verdict, service, accounts })
    }

    fn find<'a>(
        &'a self,
        of: impl Fn(&'a Assessed) -> Option<&'a Judged>,
    ) -> Option<(&'a Judged, &'a Arc<Accounts>)> {
        let judged = |assessed: &'a Option<Assessed>| of(assessed.as_ref()?);
        self.assessed
            .iter()
            .zip(&self.accounts)
            .find_map(|(assessed, accounts)| Some((judged(assessed)?, accounts)))
    }
}

fn subject(what: &Happening) -> &Arc<Listener> {
    match what {
        Happening::Opened(listener)
        | Happening::Changed { after: listener, .. }
        | Happening::Closed { listener, .. } => listener,
    }
}

impl Witnessed {
    /// The socket: after a change as it is, after a close as it was.
    pub fn listener(&self) -> &Listener {
        subject(&self.what)
    }

    /// When it happened; of what a look found, when it was found.
    pub fn at(&self) -> SystemTime {
        match &self.what {
            Happening::Opened(listener) => listener.since.unwrap_or(self.seen_at),
            Happening::Changed { .. } => self.seen_at,
            Happening::Closed { at, .. } => *at,
        }
    }

    /// It closed or changed, and was there before the watching began.
    pub fn was_before(&self) -> bool {
        !matches!(self.what, Happening::Opened(_)) && self.listener().since.is_none()
    }

    /// How long it listened, where that is over and was seen from its begin. Zero where the clock was set back since.
    pub fn lived(&self) -> Option<Duration> {
        match &self.what {
            Happening::Closed { listener, at } => {
                Some(at.duration_since(listener.since?).unwrap_or_default())
            }
            _ => None,
        }
    }

    /// What differs after a change, by the names of the fields in JSON.
    pub fn differences(&self) -> Vec<&'static str> {
        match &self.what {
            Happening::Changed { before, after } => differences(before, after),
            _ => Vec::new(),
        }
    }
}

/// Since when it is there is no difference: no program did anything.
fn differences(before: &Listener, after: &Listener) -> Vec<&'static str> {
    let fields = [
        ("address", before.endpoint.address != after.endpoint.address),
        ("port", before.endpoint.port != after.endpoint.port),
        ("device", before.endpoint.device != after.endpoint.device),
        ("peer", before.peer != after.peer),
        ("reach", before.reach != after.reach),
        ("holders", before.holders != after.holders),
        ("netns", before.netns != after.netns),
        ("published", before.published != after.published),
        ("port_choice", before.port_choice != after.port_choice),
        ("reuse_port", before.reuse_port != after.reuse_port),
        ("ipv6_only", before.ipv6_only != after.ipv6_only),
        ("backlog", before.backlog != after.backlog),
        ("socket_uid", before.uid != after.uid),
    ];
    fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests;
