use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use baseline::{ClosedBecause, Crowd, Drift, DriftEvent, Overdue, Register, Remedy, Severity};
use inventory::RawText;
use serde::{Deserialize, Serialize};

use super::cursor::MOST;
use super::turn::{About, End, OfHost, SENSOR, Step, Turn, Why, overdue_id};
use crate::alert::{self, Alert, InCommon, Moment, Told};

/// How long what is resolved is told again.
pub(crate) const TOLD_AGAIN: Duration = Duration::from_secs(15 * 60);

/// Which alerts fire: what was told, and nothing that was not. A fold over the records of `alerts.jsonl`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Book {
    /// Of the last turn.
    pub(crate) seq: u64,
    /// By their ids, each as a turn that says that it fires now, with the number of its last.
    pub(crate) firing: BTreeMap<Arc<str>, Arc<Turn>>,
    /// What was resolved of late, oldest first.
    pub(crate) ended: VecDeque<Arc<Turn>>,
}

/// What is known by which alerts are told.
pub(crate) struct Known<'a> {
    pub(crate) register: &'a Register,
    /// What was told of drift with it.
    pub(crate) events: &'a [DriftEvent],
    /// The host is not only observed.
    pub(crate) enforced: bool,
}

/// What is new of how much drift of a severity is overdue.
pub(crate) struct Late {
    severity: Severity,
    overdue: Option<Overdue>,
}

impl Known<'_> {
    fn overdue(&self, severity: Severity, remedy: &Remedy, now: SystemTime) -> Option<Overdue> {
        Overdue::of(severity, self.register.by_id(), remedy, now).filter(|_| self.enforced)
    }
}

impl Book {
    /// Holds what is told against what is open, and returns what is new. Call it only with a register that was updated
    /// by this process: what an earlier one left may lag behind what it told. Where nothing is new nothing is copied.
    pub(crate) fn update(
        self: &mut Arc<Self>,
        known: &Known<'_>,
        sender: &alert::Sender,
        now: SystemTime,
    ) -> Vec<Arc<Turn>> {
        let open = Open::of(self, known);
        let (mut turns, mut in_common) = (Vec::new(), InCommon::default());
        for drift in &open.otherwise {
            let (id, told) = (drift.id().as_str(), Told::of(drift));
            turns.extend(Arc::make_mut(self).go_on(id, &told, sender, &mut in_common, now));
        }
        let (mut groups, mut beginning) = (HashSet::new(), Vec::new());
        for crowd in crowds(&open.others) {
            let Some(many) = together(&crowd) else { continue };
            let id = many.id();
            match self.firing.get(&*id).map(|before| is_otherwise(before, &many)) {
                Some(is_otherwise) => {
                    if is_otherwise {
                        turns.extend(Arc::make_mut(self).go_on(&id, &many, sender, &mut in_common, now));
                    }
                    groups.insert(id);
                }
                None => beginning.push(crowd),
            }
        }
        if open.singly.len() + groups.len() < self.of_drift() {
            turns.extend(Arc::make_mut(self).end(&open.singly, &groups, known, now));
        }
        if !beginning.is_empty() {
            turns.extend(Arc::make_mut(self).begin(beginning, &open.singly, sender, now));
        }
        if self.ended.front().is_some_and(|turn| is_over_for_long(turn, now)) {
            Arc::make_mut(self).forget(now);
        }
        turns
    }

    /// Nothing is heard of the sensor since then.
    pub(crate) fn sensor_is_silent(
        &mut self,
        host: &str,
        heard: SystemTime,
        now: SystemTime,
    ) -> Option<Arc<Turn>> {
        let about = About::Sensor(OfHost::silent(host, heard));
        (!self.says_silent()).then(|| self.fire(about, now))
    }

    /// The sensor is heard of.
    pub(crate) fn sensor_is_heard(&mut self, now: SystemTime) -> Option<Arc<Turn>> {
        self.resolve(SENSOR, End { why: Why::Heard, by: None, approved_as: None }, now)
    }

    pub(crate) fn says_silent(&self) -> bool {
        self.firing.contains_key(SENSOR)
    }

    /// Of which severities drift is overdue by now and that is not told, or told and no more so.
    pub(crate) fn late(&self, known: &Known<'_>, remedy: &Remedy, now: SystemTime) -> Vec<Late> {
        let of = |severity| Late { severity, overdue: known.overdue(severity, remedy, now) };
        let is_new =
            |late: &Late| late.overdue.is_some() != self.firing.contains_key(overdue_id(late.severity));
        Remedy::OF.map(of).into_iter().filter(is_new).collect()
    }

    /// Tells so.
    pub(crate) fn remind(
        &mut self,
        late: &[Late],
        host: &str,
        enforced: bool,
        now: SystemTime,
    ) -> Vec<Arc<Turn>> {
        let why = if enforced { Why::Remedied } else { Why::Observed };
        let each = late.iter().filter_map(|late| match &late.overdue {
            Some(overdue) => Some(self.fire(About::Overdue(OfHost::overdue(host, overdue)), now)),
            None => self.resolve(overdue_id(late.severity), End { why, by: None, approved_as: None }, now),
        });
        each.collect()
    }

    /// Takes in what was written down; what it has is not taken twice.
    pub(crate) fn take_in(&mut self, turn: Turn) {
        if turn.seq <= self.seq || turn.seq >= MOST {
            return;
        }
        self.seq = turn.seq;
        if turn.event == Step::Resolved {
            self.firing.remove(turn.id());
            self.ended.push_back(Arc::new(turn));
        } else {
            self.insert(Arc::new(as_it_stands(turn)));
        }
    }

    /// What was read one by one refers to what it has in common.
    pub(crate) fn share(&mut self) {
        let mut in_common = InCommon::default();
        for turn in self.firing.values_mut().chain(&mut self.ended) {
            if let About::Drift(alert) = &mut Arc::make_mut(turn).about {
                in_common.share(alert);
            }
        }
    }

    /// What fires or was resolved of late, of these numbers, in their order.
    pub(crate) fn between(&self, from: u64, to: u64) -> Vec<Arc<Turn>> {
        let all = self.firing.values().chain(&self.ended);
        let mut turns: Vec<Arc<Turn>> = all.filter(|turn| (from..=to).contains(&turn.seq)).cloned().collect();
        turns.sort_by_key(|turn| turn.seq);
        turns
    }

    /// How many alerts fire that are of drift.
    fn of_drift(&self) -> usize {
        let of_host = [SENSOR].into_iter().chain(Remedy::OF.map(overdue_id));
        self.firing.len() - of_host.filter(|id| self.firing.contains_key(*id)).count()
    }

    /// Tells what nobody was told of: the gravest first, and of each crowd as many singly as there is room for.
    fn begin(
        &mut self,
        crowds: Vec<Vec<&Drift>>,
        told_singly: &[&Drift],
        sender: &alert::Sender,
        now: SystemTime,
    ) -> Vec<Arc<Turn>> {
        let mut known: HashMap<Crowd, usize> = HashMap::new();
        told_singly.iter().for_each(|drift| *known.entry(drift.crowd()).or_default() += 1);
        let mut new = Vec::new();
        for mut crowd in crowds {
            crowd.sort_unstable_by(|one, other| one.by_gravity(other));
            let known =
                crowd.first().and_then(|drift| known.get(&drift.crowd())).copied().unwrap_or_default();
            let (single, beyond) = crowd.split_at(Crowd::FROM.saturating_sub(known).min(crowd.len()));
            new.extend(single.iter().map(|drift| Told::of(drift)));
            new.extend(together(beyond));
        }
        new.sort_by(Told::by_gravity);
        // What fires already is not gone through for that: it would cost more with each that does.
        let mut in_common = InCommon::default();
        let turn = |told| self.fire(About::of(sender.alert(told), &mut in_common), now);
        new.iter().map(turn).collect()
    }

    /// It fires on: only what is graver is told.
    fn go_on(
        &mut self,
        id: &str,
        told: &Told<'_>,
        sender: &alert::Sender,
        in_common: &mut InCommon,
        now: SystemTime,
    ) -> Option<Arc<Turn>> {
        let before = self.firing.get(id)?.clone();
        let alert = before.about.drift()?;
        let (severity, gone) = (told.drift.finding.severity, told.drift.gone_since.filter(|_| !told.present));
        let (was, gone_since) =
            (Some(alert.severity()).filter(|was| severity > *was), gone.map(Moment::from));
        if was.is_none() && alert.gone_since == gone_since {
            return None;
        }
        let Some(was) = was else {
            let mut alert = alert.clone();
            alert.gone_since = gone_since;
            self.insert(Arc::new(Turn { about: About::Drift(alert), ..Turn::clone(&before) }));
            return None;
        };
        // Its labels stay as they were told, but for the severity.
        let (told, current) = (alert.alert(), sender.alert(told));
        let (summary, approval, differs) = (current.summary, current.approval, current.differs);
        let alert = Alert { severity, summary, approval, differs, gone_since, ..told };
        let turn = Turn::firing(self.next(), About::of(alert, in_common), now);
        self.insert(Arc::new(turn.clone()));
        Some(Arc::new(Turn { event: Step::Changed, was: Some(was), ..turn }))
    }

    fn fire(&mut self, about: About, now: SystemTime) -> Arc<Turn> {
        let turn = Arc::new(Turn::firing(self.next(), about, now));
        self.insert(turn.clone());
        turn
    }

    fn insert(&mut self, turn: Arc<Turn>) {
        let id = turn.about.drift().map_or_else(|| turn.id().into(), |alert| alert.drift().clone());
        self.firing.insert(id, turn);
    }

    /// What fires and is neither among these nor one of these groups is over.
    fn end(
        &mut self,
        singly: &[&Drift],
        groups: &HashSet<String>,
        known: &Known<'_>,
        now: SystemTime,
    ) -> Vec<Arc<Turn>> {
        let singly: HashSet<&str> = singly.iter().map(|drift| drift.id().as_str()).collect();
        let of_drift = self.firing.values().filter(|turn| turn.about.drift().is_some()).map(|turn| turn.id());
        let over = of_drift.filter(|id| !singly.contains(id) && !groups.contains(*id));
        let over: Vec<String> = over.map(str::to_owned).collect();
        let ends = ends(known.events);
        let ended = over.iter().filter_map(|id| {
            let unknown = if known.enforced { Why::Unknown } else { Why::Observed };
            let end = ends.get(id).cloned();
            self.resolve(id, end.unwrap_or(End { why: unknown, by: None, approved_as: None }), now)
        });
        ended.collect()
    }

    fn resolve(&mut self, id: &str, end: End, now: SystemTime) -> Option<Arc<Turn>> {
        let before = Arc::unwrap_or_clone(self.firing.remove(id)?);
        let turn = Turn { time: now.into(), seq: self.next(), ..before };
        let turn = Arc::new(Turn { event: Step::Resolved, end: Some(Box::new(end)), ..turn });
        self.ended.push_back(turn.clone());
        Some(turn)
    }

    fn next(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    fn forget(&mut self, now: SystemTime) {
        while self.ended.front().is_some_and(|turn| is_over_for_long(turn, now))
            || self.ended.len() > Register::ROOM
        {
            self.ended.pop_front();
        }
    }
}

/// So long that nobody is told any more. What a clock that was ahead wrote is kept until it is that late.
fn is_over_for_long(turn: &Turn, now: SystemTime) -> bool {
    turn.time.at().is_none_or(|at| now.duration_since(at).unwrap_or_default() > TOLD_AGAIN)
}

/// Somebody is told of it.
fn is_due(drift: &Drift) -> bool {
    drift.finding.severity >= Severity::Warning
}

/// As a turn that says that it fires.
fn as_it_stands(turn: Turn) -> Turn {
    Turn { event: Step::Firing, was: None, end: None, ..turn }
}

/// What is open and deserves that somebody is told.
#[derive(Default)]
struct Open<'a> {
    /// Those that are told singly already.
    singly: Vec<&'a Drift>,
    /// Those among them that may not be as they were told.
    otherwise: Vec<&'a Drift>,
    others: Vec<&'a Drift>,
}

impl<'a> Open<'a> {
    fn of(book: &Book, known: &Known<'a>) -> Self {
        let mut open = Open::default();
        if !known.enforced {
            return open;
        }
        let returned = known.events.iter().filter_map(|event| match event {
            DriftEvent::Returned(drift) => Some(drift.id().as_str()),
            _ => None,
        });
        let returned: HashSet<&str> = returned.collect();
        // Both are in the order of ids: to look up each would cost as much again for each time that there are twice as many.
        let mut firing = book.firing.iter().peekable();
        for drift in known.register.by_id().filter(|drift| is_due(drift)) {
            let id = drift.id().as_str();
            while firing.next_if(|(told, _)| &***told < id).is_some() {}
            let Some((_, before)) = firing.next_if(|(told, _)| &***told == id) else {
                open.others.push(drift);
                continue;
            };
            if is_otherwise(before, &Told::of(drift)) || returned.contains(id) {
                open.otherwise.push(drift);
            }
            open.singly.push(drift);
        }
        open
    }
}

/// Whether it is graver than it was told, or gone where it was there. Since when it is gone changes where it came back.
fn is_otherwise(before: &Turn, told: &Told<'_>) -> bool {
    let is_gone = !told.present && told.drift.gone_since.is_some();
    before.about.drift().is_some_and(|alert| {
        told.drift.finding.severity > alert.severity() || alert.gone_since.is_some() != is_gone
    })
}

/// Those that differ in port alone together.
fn crowds<'a>(drifts: &[&'a Drift]) -> Vec<Vec<&'a Drift>> {
    let mut crowds: HashMap<Crowd, Vec<&'a Drift>> = HashMap::new();
    for drift in drifts {
        crowds.entry(drift.crowd()).or_default().push(drift);
    }
    crowds.into_values().collect()
}

fn together<'a>(drifts: &[&'a Drift]) -> Option<Told<'a>> {
    let first_seen = drifts.iter().map(|drift| drift.first_seen).min()?;
    let present = drifts.iter().any(|drift| drift.is_present());
    let gravest = drifts.iter().min_by(|one, other| one.by_gravity(other));
    gravest.map(|drift| Told { drift, many: true, present, first_seen })
}

/// How drifts were closed, by the ids of the alerts that told of them, singly or together.
fn ends(events: &[DriftEvent]) -> HashMap<String, End> {
    let mut ends = HashMap::new();
    for event in events {
        let DriftEvent::Closed { drift, why } = event else { continue };
        let shown = |text: &str| RawText::from(text).escaped();
        let (by, approval) = (why.by().map(shown), why.approval().map(shown));
        let end = End { why: Why::of(why), by, approved_as: approval };
        let told = Told::of(drift);
        ends.insert(Told { many: true, ..told }.id(), end.clone());
        ends.insert(told.id(), end);
    }
    ends
}

impl Why {
    fn of(why: &ClosedBecause) -> Self {
        match why {
            ClosedBecause::Approved(_) => Why::Approved,
            ClosedBecause::Unjudged => Why::Unjudged,
            ClosedBecause::Aged => Why::Aged,
            ClosedBecause::Dismissed { .. } => Why::Dismissed,
            ClosedBecause::Crowded => Why::Crowded,
        }
    }
}

#[cfg(test)]
mod tests;
