mod closed;
mod crowd;
mod drift;
mod evidence;
mod rejudge;
mod room;
mod saved;
mod settling;
mod started_by;

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use inventory::{Inventory, SocketId};

pub use self::closed::{ClosedBecause, ClosedBy, Dismissal};
pub use self::crowd::Crowd;
pub use self::drift::Drift;
use self::drift::FoundAs;
pub(crate) use self::evidence::Evidence;
use self::evidence::Witnesses;
use self::rejudge::{Fate, Rejudge};
use self::settling::{Settling, ended_well, may_be_handed_on};
use crate::{Accounts, Assessment, DriftId, DriftKind, Finding, Policy, Severity};

pub use self::saved::{BrokenRegister, Written};
pub use self::started_by::{StartedBy, Starter};

/// The open drifts of a host.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Register {
    pub(crate) open: BTreeMap<DriftId, Arc<Drift>>,
    settling: Settling,
    /// Required approvals and since when nothing is there for them.
    absent_since: BTreeMap<DriftId, SystemTime>,
    /// Of the baseline that gone drifts were last judged by.
    revision: String,
    /// How many findings of the last update are not open for want of room.
    left_out: BTreeMap<(DriftKind, Severity), usize>,
}

/// What happened to a drift.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriftEvent {
    /// It is new.
    Opened(Arc<Drift>),
    /// It is not there any more, as far as anybody can tell, and stays open.
    Gone(Arc<Drift>),
    /// It was gone and came back. Told once an update, however often that happened since the one before; where it went
    /// again within it, [`DriftEvent::Gone`] follows.
    Returned(Arc<Drift>),
    /// It is over.
    Closed {
        /// As it was.
        drift: Arc<Drift>,
        /// Why.
        why: ClosedBecause,
    },
}

impl DriftEvent {
    /// What it happened to.
    pub fn drift(&self) -> &Drift {
        match self {
            DriftEvent::Opened(drift)
            | DriftEvent::Gone(drift)
            | DriftEvent::Returned(drift)
            | DriftEvent::Closed { drift, .. } => drift,
        }
    }
}

/// What listened and was gone again before this update, judged as if it were there.
#[derive(Clone, Copy)]
pub struct Passed<'a> {
    /// The sockets, each as it was while it listened.
    pub inventory: &'a Inventory,
    /// What the baseline says of them.
    pub assessment: &'a Assessment,
    /// Their users.
    pub accounts: &'a Accounts,
}

/// What was told between two inventories.
#[derive(Clone, Copy, Default)]
pub struct Meanwhile<'a> {
    /// What came and went.
    pub passed: Option<Passed<'a>>,
    /// Sockets whose end the kernel told. That a look shows one no more is no such proof: it may not have seen its
    /// namespace.
    pub ended: &'a [SocketId],
}

/// What an assessment finds to be there.
#[derive(Default)]
struct Found<'a> {
    /// One for each id.
    drifts: BTreeMap<DriftId, Drift>,
    /// The listeners of each, by their places in the inventory; none of what is absent.
    listeners: BTreeMap<&'a DriftId, &'a [usize]>,
    /// Those that are open and as they were.
    same: HashSet<&'a DriftId>,
}

impl Register {
    /// How long a drift that is not critical stays open after it was gone, and after it was last seen where a gap hides
    /// whether it is there. A critical one never ends by itself: whoever opened a port for two seconds must not be rid of
    /// the alert by waiting. It is closed by an approval, by a dismissal, or for want of room.
    ///
    /// What is hidden is not told to be gone, for nobody knows. But it must end some day: where its namespace went with
    /// it, or the sensor was started again, nobody is left who could tell. It has then been open, and alerted, for as long
    /// as it would have been had it gone when it was last seen; a look is due every few minutes, so that a day is hundreds
    /// of looks and outlasts a gap that comes and goes. The gap itself goes on being told, and a drift that is seen again
    /// is opened anew. A critical one is told to be gone since it was last seen: only what is gone can be dismissed.
    pub const KEPT_GONE: Duration = Duration::from_secs(24 * 60 * 60);
    /// How long a finding waits for its listeners to be attributed, or handed to whom the baseline expects.
    pub const SETTLING: Duration = Duration::from_secs(2);
    /// How many drifts can be open.
    pub const ROOM: usize = 10_000;

    /// Takes in what was found in an inventory at this moment. Call it only with a new inventory, never for want of
    /// one: silence closes nothing.
    pub fn update(
        &mut self,
        inventory: &Inventory,
        assessment: &Assessment,
        policy: &Policy,
        accounts: &Accounts,
        now: SystemTime,
    ) -> Vec<DriftEvent> {
        self.update_after(Meanwhile::default(), inventory, assessment, policy, accounts, now)
    }

    /// Likewise, with what was told since the update before. Drifts of sockets that listened and were gone again are told
    /// as open and gone; one whose last socket was told to have ended is gone, whatever else is not seen.
    pub fn update_after(
        &mut self,
        meanwhile: Meanwhile<'_>,
        inventory: &Inventory,
        assessment: &Assessment,
        policy: &Policy,
        accounts: &Accounts,
        now: SystemTime,
    ) -> Vec<DriftEvent> {
        let Meanwhile { passed, ended } = meanwhile;
        let mut events = Vec::new();
        let Found { drifts: mut found, same, listeners: places } =
            self.found(inventory, assessment, policy, accounts, now);
        let known: HashSet<DriftId> = found.keys().chain(same).cloned().collect();
        let rejudge = Rejudge { inventory, assessment, policy, accounts, now };
        let baseline_changed = self.revision != policy.baseline.revision();
        policy.baseline.revision().clone_into(&mut self.revision);
        let ended_well = ended_well(passed);
        let open = &self.open;
        let may_settle = |drift: &Drift, seen| {
            let listeners = places.get(drift.id());
            let is_young = listeners
                .is_some_and(|listeners| may_be_handed_on(&drift.finding, listeners, inventory, seen));
            !open.contains_key(drift.id()) && (drift.is_unattributed() || is_young)
        };
        self.settling.settle(&mut found, may_settle, &ended_well, inventory, now);
        self.settling.remember(inventory, assessment);
        let passed = self.passed(passed, inventory, &ended_well, &known, now);
        self.note_ends(ended, &known);
        self.let_go(&known, &rejudge, baseline_changed, &mut events);
        self.take_in(found, passed, &mut events);
        events
    }

    /// Closes what is gone and was let be. One that came back since then stays: it is another matter.
    pub fn dismiss(&mut self, dismissed: &[Dismissal]) -> Vec<DriftEvent> {
        let mut events = Vec::new();
        for Dismissal { drift, gone_since, by } in dismissed {
            let apart = |since| elapsed(*gone_since, since) + elapsed(since, *gone_since);
            let is_meant = |open: &Arc<Drift>| open.gone_since.is_some_and(|since| apart(since) < SAME);
            if self.open.get(drift).is_some_and(is_meant)
                && let Some(drift) = self.open.remove(drift)
            {
                events.push(DriftEvent::Closed { drift, why: ClosedBecause::Dismissed { by: by.clone() } });
            }
        }
        events
    }

    /// Opens what is known to have been told, in place of what is known of it: what was written is lost or old. As gone as it
    /// was, until the next update finds out.
    pub fn recall(&mut self, finding: Finding, first_seen: SystemTime, gone_since: Option<SystemTime>) {
        if self.open.len() < Register::ROOM || self.open.contains_key(&finding.id) {
            let there = Drift::without_sockets(finding, first_seen, Evidence::default());
            let drift = Drift { gone_since, ..there };
            self.open.insert(drift.id().clone(), drift.into());
        }
    }

    /// The clock went ahead by this without as much time having passed: nothing is older for that.
    pub fn clock_went_ahead(&mut self, by: Duration) {
        for drift in self.open.values_mut().filter(|drift| !drift.is_seen()) {
            if let Some(since) =
                drift.gone_since.or(drift.hidden_since).and_then(|since| since.checked_add(by))
            {
                Arc::make_mut(drift).began_to_age(since);
            }
        }
        for since in self.absent_since.values_mut() {
            *since = since.checked_add(by).unwrap_or(*since);
        }
    }

    /// When the next thing happens that only time brings about: a finding has settled, something has been absent or
    /// gone for long enough. An update is wanted then, though nothing was told.
    pub fn due(&self, policy: &Policy) -> Option<SystemTime> {
        let waits = |(id, since): (&DriftId, &SystemTime)| {
            let is_told = self.open.get(id).is_some_and(|drift| drift.is_present());
            if is_told { None } else { since.checked_add(policy.missing_after) }
        };
        let missing = self.absent_since.iter().filter_map(waits);
        let aged = self.open.values().filter_map(|drift| drift.ages_at());
        self.settling.due().chain(missing).chain(aged).min()
    }

    /// The open drifts, gravest and oldest first.
    pub fn drifts(&self) -> impl Iterator<Item = &Drift> {
        let mut drifts: Vec<&Drift> = self.by_id().collect();
        drifts.sort_unstable_by(|one, other| one.by_gravity(other));
        drifts.into_iter()
    }

    /// The open drifts in the order of their ids: for whoever counts them, or wants only the first few.
    pub fn by_id(&self) -> impl Iterator<Item = &Drift> {
        self.open.values().map(|drift| &**drift)
    }

    /// The open drift of this id.
    pub fn drift(&self, id: &DriftId) -> Option<&Drift> {
        self.open.get(id).map(|drift| &**drift)
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// None is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// How many findings of the last update found no room.
    pub fn left_out(&self) -> usize {
        self.left_out.values().sum()
    }

    /// [`Register::left_out`] by kind and severity; none of one that is not in it.
    pub fn left_out_by_kind(&self) -> &BTreeMap<(DriftKind, Severity), usize> {
        &self.left_out
    }

    /// What is there now: one for each id, `missing` only once it has been so for long enough.
    fn found<'a>(
        &mut self,
        inventory: &Inventory,
        assessment: &'a Assessment,
        policy: &Policy,
        accounts: &Accounts,
        now: SystemTime,
    ) -> Found<'a> {
        let Found { drifts: mut found, mut listeners, mut same } = Found::default();
        let mut seen = Witnesses::of(inventory, accounts);
        for judged in &assessment.services {
            let crate::Verdict::Drift(finding) = &judged.verdict else { continue };
            if self.has(finding) {
                same.insert(&finding.id);
                continue;
            }
            let known = found
                .entry(finding.id.clone())
                .or_insert_with(|| Drift::of(finding, &judged.service.listeners, &mut seen, now));
            known.is_at_least(finding.severity);
            let sockets = judged.service.listeners.iter().map(|place| inventory.listeners[*place].id);
            known.sockets.get_or_insert_default().extend(sockets);
            listeners.insert(&finding.id, &judged.service.listeners);
        }
        let absent: BTreeSet<&DriftId> = assessment.absent.iter().map(|finding| &finding.id).collect();
        self.absent_since.retain(|id, _| absent.contains(id));
        for finding in &assessment.absent {
            let since = self.absent_since.entry(finding.id.clone()).or_insert(now);
            *since = (*since).min(now);
            // What is open already need not wait again after a gap.
            let is_known = self.open.get(&finding.id).is_some_and(|drift| drift.is_present());
            if is_known || elapsed(*since, now) >= policy.missing_after {
                let finding = finding.clone();
                let drift = Drift::without_sockets(finding, *since, Evidence::default());
                found.insert(drift.finding.id.clone(), drift);
            }
        }
        Found { drifts: found, listeners, same }
    }

    /// It is open, there, and was taken from this very finding. Several services may be one `expired`.
    fn has(&self, finding: &Arc<Finding>) -> bool {
        let is_it = |found_as: &FoundAs| found_as.0.as_ref().is_some_and(|known| Arc::ptr_eq(known, finding));
        finding.kind != DriftKind::Expired
            && self.open.get(&finding.id).is_some_and(|open| open.is_seen() && is_it(&open.found_as))
    }

    /// Drifts that came and went, with whether each is open as gone by now. None of what is there, and none of sockets
    /// that were handed on at once and are there or were no drift at last.
    fn passed(
        &self,
        passed: Option<Passed<'_>>,
        present: &Inventory,
        ended_well: &HashSet<SocketId>,
        known: &HashSet<DriftId>,
        now: SystemTime,
    ) -> BTreeMap<DriftId, (Drift, bool)> {
        let mut drifts: BTreeMap<DriftId, (Drift, bool)> = BTreeMap::new();
        let Some(Passed { inventory, assessment, accounts }) = passed else { return drifts };
        let mut seen = Witnesses::of(inventory, accounts);
        let is_there =
            |id: &SocketId| present.listeners.binary_search_by_key(id, |listener| listener.id).is_ok();
        let goes_on = |place: &usize| {
            let id = inventory.listeners.get(*place).map(|listener| listener.id);
            id.is_some_and(|id| is_there(&id) || ended_well.contains(&id))
        };
        for judged in &assessment.services {
            let crate::Verdict::Drift(finding) = &judged.verdict else { continue };
            let listeners = &judged.service.listeners;
            let handed_on =
                || listeners.iter().all(goes_on) && may_be_handed_on(finding, listeners, inventory, now);
            if known.contains(&finding.id) || handed_on() {
                continue;
            }
            let drift = || {
                let mut drift = Drift::of(finding, listeners, &mut seen, now);
                drift.go(now);
                let was_gone = self.open.get(&finding.id).is_some_and(|open| !open.is_present());
                (drift, was_gone)
            };
            let (known, _) = drifts.entry(finding.id.clone()).or_insert_with(drift);
            known.is_at_least(finding.severity);
        }
        drifts
    }

    /// Sockets are forgotten whose end was told, of drifts that were not found.
    fn note_ends(&mut self, ended: &[SocketId], known: &HashSet<DriftId>) {
        if ended.is_empty() {
            return;
        }
        let ended: HashSet<&SocketId> = ended.iter().collect();
        for drift in self.open.values_mut() {
            let ends = drift.sockets.iter().flatten().any(|id| ended.contains(id));
            if ends && !known.contains(drift.id()) {
                Arc::make_mut(drift)
                    .sockets
                    .iter_mut()
                    .for_each(|left| left.retain(|id| !ended.contains(id)));
            }
        }
    }

    /// Marks as gone or closes what was not found.
    fn let_go(
        &mut self,
        known: &HashSet<DriftId>,
        rejudge: &Rejudge<'_>,
        baseline_changed: bool,
        events: &mut Vec<DriftEvent>,
    ) {
        let now = rejudge.now;
        let mut closed = Vec::new();
        let lost: Vec<(&DriftId, &mut Arc<Drift>)> =
            self.open.iter_mut().filter(|(id, _)| !known.contains(*id)).collect();
        let fates = rejudge.fates(lost.iter().map(|(_, drift)| &***drift), baseline_changed);
        for ((id, drift), fate) in lost.into_iter().zip(fates) {
            match (fate, drift.gone_since.or(drift.hidden_since)) {
                (Fate::Closed(why), _) => closed.push((id.clone(), why)),
                (Fate::Gone, _) if drift.is_present() => {
                    Arc::make_mut(drift).go(now);
                    events.push(DriftEvent::Gone(drift.clone()));
                }
                (Fate::Stays, None) => {}
                (Fate::Stays, Some(_)) if drift.is_present() => Arc::make_mut(drift).hidden_since = None,
                (_, None) => Arc::make_mut(drift).hidden_since = Some(now),
                // A clock that was ahead must not keep it open until it is that late again.
                (_, Some(since)) if since > now => Arc::make_mut(drift).began_to_age(now),
                (_, Some(since)) if elapsed(since, now) < Register::KEPT_GONE => {}
                (_, Some(_)) if !drift.is_critical() => closed.push((id.clone(), ClosedBecause::Aged)),
                (_, Some(since)) if drift.is_present() => {
                    Arc::make_mut(drift).go(since);
                    events.push(DriftEvent::Gone(drift.clone()));
                }
                (_, Some(_)) => {}
            }
        }
        for (id, why) in closed {
            events.extend(self.open.remove(&id).map(|drift| DriftEvent::Closed { drift, why }));
        }
    }

    fn take_in(
        &mut self,
        mut found: BTreeMap<DriftId, Drift>,
        passed: BTreeMap<DriftId, (Drift, bool)>,
        events: &mut Vec<DriftEvent>,
    ) {
        let heirs = found.iter_mut().filter(|(id, _)| !self.open.contains_key(*id));
        let earlier = self.open.values().map(|drift| &**drift).chain(passed.values().map(|(drift, _)| drift));
        started_by::inherit(heirs.map(|(_, drift)| drift), earlier);
        let mut new = HashSet::new();
        for (id, drift) in found {
            match self.open.entry(id) {
                Entry::Occupied(mut open) => {
                    if Arc::make_mut(open.get_mut()).see_again(drift) {
                        events.push(DriftEvent::Returned(open.get().clone()));
                    }
                }
                Entry::Vacant(vacant) => {
                    new.insert(vacant.key().clone());
                    vacant.insert(Arc::new(drift));
                }
            }
        }
        for (id, (drift, was_gone)) in passed {
            match self.open.entry(id) {
                // It may be there still: a gap hides that it is not.
                Entry::Occupied(open) if open.get().is_present() => {}
                Entry::Occupied(mut open) => {
                    Arc::make_mut(open.get_mut()).see_again(drift);
                    if was_gone {
                        events.push(DriftEvent::Returned(open.get().clone()));
                        events.push(DriftEvent::Gone(open.get().clone()));
                    }
                }
                Entry::Vacant(vacant) => {
                    new.insert(vacant.key().clone());
                    vacant.insert(Arc::new(drift));
                }
            }
        }
        self.left_out.clear();
        for drift in self.make_room(&new) {
            let was_open = !new.remove(drift.id());
            if drift.is_present() || !was_open {
                *self.left_out.entry((drift.finding.kind, drift.finding.severity)).or_default() += 1;
            }
            if was_open {
                events.push(DriftEvent::Closed { drift, why: ClosedBecause::Crowded });
            }
        }
        let mut opened: Vec<&Arc<Drift>> = new.iter().filter_map(|id| self.open.get(id)).collect();
        opened.sort_unstable_by_key(|drift| (Reverse(drift.finding.severity), drift.id()));
        for drift in opened {
            events.push(DriftEvent::Opened(drift.clone()));
            if drift.gone_since.is_some() {
                events.push(DriftEvent::Gone(drift.clone()));
            }
        }
    }

    /// Takes out what there is no room for.
    fn make_room(&mut self, new: &HashSet<DriftId>) -> Vec<Arc<Drift>> {
        if self.open.len() <= Register::ROOM {
            return Vec::new();
        }
        let falling = room::falling(self.open.values().map(|drift| &**drift), new, Register::ROOM);
        falling.into_iter().filter_map(|id| self.open.remove(&id)).collect()
    }
}

/// A judgement that takes nothing new in counts as of when the sensor was last heard of, and may set back by a little
/// since when something is gone.
const SAME: Duration = Duration::from_secs(1);

/// Zero where the clock was set back.
fn elapsed(since: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(since).unwrap_or_default()
}
