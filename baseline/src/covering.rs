use std::collections::BTreeSet;

use crate::{Assessment, Baseline, DriftKind, Verdict};

/// Which approvals of one baseline cover something, in one assessment or in several by the same.
#[derive(Clone, Debug, Default)]
pub struct Covering {
    /// By place.
    covers: Vec<bool>,
}

impl Covering {
    /// Adds what this assessment by this baseline finds covered, as far as can be seen. An approval covers also what other
    /// approvals cover, and what it covered until it expired.
    pub fn add(&mut self, assessment: &Assessment, baseline: &Baseline) {
        self.covers.resize(baseline.approvals().len(), false);
        for judged in &assessment.services {
            // The nearest that differs is present too: it is what the service should be.
            let differing = match &judged.verdict {
                Verdict::Drift(finding) if finding.kind < DriftKind::Expired => finding.approval.as_deref(),
                _ => None,
            };
            let differing = differing.and_then(|id| baseline.place(id));
            for place in judged.present.iter().filter(|place| Some(**place) != differing) {
                if let Some(covers) = self.covers.get_mut(*place) {
                    *covers = true;
                }
            }
        }
    }

    /// Their ids, in that baseline.
    pub fn ids<'b>(&self, baseline: &'b Baseline) -> BTreeSet<&'b str> {
        let approvals = baseline.approvals().iter().zip(&self.covers);
        approvals.filter(|(_, covers)| **covers).map(|(approval, _)| approval.id.as_str()).collect()
    }
}
