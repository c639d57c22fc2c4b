use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};
use std::mem::discriminant;
use std::sync::Arc;
use std::time::SystemTime;

use inventory::{Inventory, ProgramFile, Unattributed};

use crate::absent::absent;
use crate::difference::{Circumstances, Difference, differences, is_bound_within, speaks_of};
use crate::group::{Key, group, service};
use crate::in_parts::in_parts;
use crate::index::Bound;
use crate::severity::severity_of;
use crate::view::{HolderViews, ServiceView, Spot, view_holders};
use crate::when::timestamp;
use crate::{
    Accounts, Approval, Assessment, DriftId, DriftKind, Finding, Judged, Policy, ServiceKey, Subject, Verdict,
};

/// Holds an inventory against a baseline.
pub fn assess(inventory: &Inventory, policy: &Policy, accounts: &Accounts, now: SystemTime) -> Assessment {
    let judge = Judge::new(inventory, policy, accounts, now);
    let groups = group(0..inventory.listeners.len(), inventory, accounts);
    let services = in_parts(groups.into_iter().collect(), |part| judge.judge_new(part));
    judge.assessment(services)
}

/// What is common to the judgement of all services.
pub(crate) struct Judge<'a> {
    inventory: &'a Inventory,
    pub(crate) policy: &'a Policy,
    pub(crate) around: Circumstances<'a>,
    /// By place: whether the approval is for this host.
    pub(crate) is_for_host: Vec<bool>,
    /// Places of approvals that are expired.
    pub(crate) expired: Vec<usize>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(
        inventory: &'a Inventory,
        policy: &'a Policy,
        accounts: &'a Accounts,
        now: SystemTime,
    ) -> Self {
        let around = Circumstances { accounts, zone: &policy.trust.time_zone, now: timestamp(now) };
        let approvals = policy.baseline.approvals();
        let is_for_host = approvals.iter().map(|approval| policy.host.is_among(&approval.hosts)).collect();
        let expired = approvals.iter().enumerate();
        let expired = expired.filter(|(_, approval)| approval.is_expired(around.now, around.zone));
        let expired = expired.map(|(place, _)| place).collect();
        Judge { inventory, policy, around, is_for_host, expired }
    }

    /// Listeners by their keys, none of which was judged before.
    fn judge_new(&self, groups: Vec<(Key, Vec<usize>)>) -> Vec<Judged> {
        let members = groups.iter().flat_map(|(_, members)| members);
        let holders = view_holders(members.map(|place| &self.inventory.listeners[*place]));
        groups.into_iter().map(|(key, members)| self.judge(key.named(), members, &holders)).collect()
    }

    /// These listeners, which have this key.
    pub(crate) fn judge(
        &self,
        key: Arc<ServiceKey>,
        members: Vec<usize>,
        holders: &HolderViews<'_>,
    ) -> Judged {
        let service = service(key, members, self.inventory);
        let view = ServiceView::of(&service, self.inventory, holders);
        let is_udp_client = view.is_udp_client();
        let mut present = Vec::new();
        let verdict = self.verdict(&view, &mut present);
        Judged { service, verdict, present: present.into(), is_udp_client }
    }

    /// What these services, in their order, make together.
    pub(crate) fn assessment(self, services: Vec<Judged>) -> Assessment {
        let mut service_of = vec![0; self.inventory.listeners.len()];
        let mut udp_clients = 0;
        for (at, judged) in services.iter().enumerate() {
            judged.service.listeners.iter().for_each(|place| service_of[*place] = at);
            udp_clients += if judged.is_udp_client { judged.service.listeners.len() } else { 0 };
        }
        let present = services.iter().flat_map(|judged| &*judged.present).copied().collect();
        let absent = absent(&self, &present, &self.inventory.coverage);
        Assessment {
            services,
            absent,
            service_of,
            udp_clients,
            mode: self.policy.mode,
            expired: self.expired,
        }
    }

    /// Adds to `present` the places of approvals that were held against it and found to be what they are about.
    fn verdict(&self, view: &ServiceView<'_>, present: &mut Vec<usize>) -> Verdict {
        let trusted = |held: &Held<'_, '_>| self.policy.baseline.distrust(held.place).is_none();
        let (held, untrusted): (Vec<_>, Vec<_>) = self.hold_against_all(view).into_iter().partition(trusted);
        let nearest = held.iter().min_by_key(|held| held.distance());
        present.extend(held.iter().filter(|held| held.may_cover()).map(|held| held.place));
        if view.is_udp_client() || view.is_connected() || !self.is_judged(view) {
            return Verdict::Unjudged;
        }
        present.extend(nearest.map(|held| held.place));
        let of_file = kinds_of_files(view);
        let covers = held.iter().filter(|held| held.differences.is_empty());
        if let Some(covering) = covers.min_by_key(|held| (held.approval.is_learned(), held.place))
            && of_file.is_empty()
        {
            let id = covering.approval.id.as_str().into();
            return if covering.approval.is_learned() { Verdict::Learned(id) } else { Verdict::Approved(id) };
        }
        match nearest {
            Some(nearest) if nearest.may_cover() && !nearest.differences.is_empty() && of_file.is_empty() => {
                Verdict::Unjudged
            }
            _ => {
                // What it would have to change besides its signatures is of no interest: it does not count.
                let would_cover = untrusted.iter().find(|held| held.differences.is_empty());
                Verdict::Drift(Arc::new(self.finding(view, nearest, would_cover, of_file)))
            }
        }
    }

    /// Where one covers it, what else speaks of its port on other addresses is of no interest.
    fn hold_against_all<'v>(&self, view: &ServiceView<'v>) -> Vec<Held<'a, 'v>> {
        let near = self.hold_against(view, |spot| Bound::To(spot.binding));
        let covers = |held: &Held<'_, '_>| {
            held.differences.is_empty() && self.policy.baseline.distrust(held.place).is_none()
        };
        if near.iter().any(covers) { near } else { self.hold_against(view, |_| Bound::Anyhow) }
    }

    fn hold_against<'v>(&self, view: &ServiceView<'v>, bound: impl Fn(&Spot) -> Bound) -> Vec<Held<'a, 'v>> {
        let approvals = self.policy.baseline.approvals();
        let mut places = BTreeSet::new();
        for spot in &view.spots {
            self.policy.baseline.index().find(view, *spot, bound(spot), &mut places);
        }
        let of_host = places.into_iter().filter(|place| self.is_for_host[*place]);
        let approvals = of_host.map(|place| (place, &approvals[place]));
        let speaking = approvals.filter(|(_, approval)| speaks_of(approval, view));
        let hold = |(place, approval)| Held {
            place,
            approval,
            differences: differences(approval, view, self.around),
        };
        speaking.map(hold).collect()
    }

    /// A scope that judges prevails over one that does not, and any scope over the default: what is in a container
    /// and not published cannot be reached from the host's networks.
    pub(crate) fn is_judged(&self, view: &ServiceView<'_>) -> bool {
        let scopes = self.policy.baseline.scopes().iter().filter(|scope| {
            let netns = scope.netns.iter().any(|netns| netns.matches(view.service.netns_kind, &view.netns));
            let bound = || view.spots.iter().all(|spot| is_bound_within(&scope.listen, spot, view, true));
            self.policy.host.is_among(&scope.hosts) && netns && (scope.listen.is_empty() || bound())
        });
        match scopes.map(|scope| scope.judged).max() {
            Some(judged) => judged,
            None => !view.is_container() || view.is_published(self.inventory),
        }
    }

    fn finding(
        &self,
        view: &ServiceView<'_>,
        nearest: Option<&Held<'_, '_>>,
        untrusted: Option<&Held<'_, '_>>,
        of_file: Vec<FileKind>,
    ) -> Finding {
        let mut kinds: BTreeSet<DriftKind> = of_file.iter().map(|file| file.kind).collect();
        let mut differs = Vec::new();
        match nearest {
            None if untrusted.is_some() => {}
            None => {
                kinds.insert(DriftKind::Unapproved);
                differs.push("no approval speaks of it".to_owned());
                differs.extend(view.unattributed.iter().filter_map(|reason| match reason {
                    Unattributed::Kernel => None,
                    reason => Some(crate::difference::unattributed(*reason).to_owned()),
                }));
            }
            Some(held) => {
                kinds.extend(held.differences.iter().filter_map(Difference::kind));
                let tell = |difference: &Difference<'_>| {
                    difference.sentence(held.approval, view, self.around.accounts)
                };
                differs.extend(held.differences.iter().map(tell));
            }
        }
        if let Some(distrust) = untrusted.and_then(|held| self.policy.baseline.distrust(held.place)) {
            kinds.insert(DriftKind::Untrusted);
            differs.insert(0, format!("it would be covered, but {distrust}"));
        }
        differs.extend(of_file.into_iter().map(|file| file.sentence));
        let mut told = HashSet::new();
        differs.retain(|sentence| told.insert(sentence.clone()));
        differs.truncate(SENTENCES);
        let mut kinds = kinds.into_iter();
        // There is always one: what has no kind to it is covered or cannot be judged.
        let kind = kinds.next().unwrap_or(DriftKind::Unapproved);
        let approval = nearest.or(untrusted).map(|held| held.approval);
        let team = approval.and_then(|approval| approval.team.clone());
        let severity = severity_of(view, kind, team.as_deref(), self.policy, self.around.accounts);
        let id = match approval {
            Some(approval) if kind == DriftKind::Expired => DriftId(approval.id.as_str().into()),
            _ => DriftId(view.service.id.0.clone()),
        };
        Finding {
            id,
            kind,
            also: kinds.collect(),
            severity,
            approval: approval.map(|approval| approval.id.clone()),
            differs,
            team,
            subject: Subject::of(view.service),
        }
    }
}

/// More are not read.
const SENTENCES: usize = 16;

/// A service held against an approval that speaks of it.
struct Held<'a, 'v> {
    place: usize,
    approval: &'a Approval,
    differences: Vec<Difference<'v>>,
}

impl Held<'_, '_> {
    /// How far it is from covering: by in how many respects it differs, then by the gravest of them, then by id. How
    /// many holders differ in the same respect says nothing.
    fn distance(&self) -> (usize, Option<Reverse<DriftKind>>, usize) {
        let gravest = self.differences.iter().filter_map(Difference::kind).min();
        let respects: HashSet<_> = self.differences.iter().map(discriminant).collect();
        (respects.len(), gravest.map(Reverse), self.place)
    }

    /// It covers as far as can be seen.
    fn may_cover(&self) -> bool {
        self.differences.iter().all(|difference| difference.kind().is_none())
    }
}

struct FileKind {
    kind: DriftKind,
    sentence: String,
}

/// What the files that run say, whatever is approved.
fn kinds_of_files(view: &ServiceView<'_>) -> Vec<FileKind> {
    let mut kinds = Vec::new();
    for holder in &view.holders {
        let program = &holder.program;
        let is_memfd = holder.holder.program.as_ref().is_some_and(inventory::Program::is_memfd);
        let (kind, sentence) = match holder.file() {
            Some(ProgramFile::Deleted { .. }) if is_memfd => {
                (DriftKind::BinaryChanged, format!("{program} never was a file: it runs from memory alone"))
            }
            Some(ProgramFile::Deleted { replaced: false }) => {
                (DriftKind::BinaryChanged, format!("{program} was deleted and nothing of root's replaced it"))
            }
            Some(ProgramFile::Deleted { replaced: true }) => {
                (DriftKind::Outdated, format!("{program} was replaced on disk: what runs wants a restart"))
            }
            Some(ProgramFile::Host | ProgramFile::Foreign | ProgramFile::Unknown) | None => continue,
        };
        kinds.push(FileKind { kind, sentence });
    }
    kinds.dedup_by(|one, other| one.sentence == other.sentence);
    kinds
}
