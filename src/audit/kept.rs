use anyhow::Context;
use ledger::Head;

use super::place::{LEDGER_KEY, Place};
use super::records::{Log, Soundness};
use crate::acts::{HEAD, kept_head_of_anybody};
use crate::page::shown;

/// What a state folder knows of its ledger. Read before the ledger is: a writer may be at work.
pub(crate) struct Kept {
    head: anyhow::Result<Option<Head>>,
    has_key: bool,
}

const WHAT_TO_DO: &str = "Leave the folder as it is, and hold it against what left this host: a bundle of `portledger \
                          audit export`, a backup, the records that your log server has";

impl Kept {
    pub(crate) fn of(place: &Place) -> anyhow::Result<Self> {
        // The key of a bundle is made for it.
        if place.manifest.is_some() {
            return Ok(Kept::head_of(place));
        }
        let key = place.folder().join(LEDGER_KEY);
        let has_key = key.try_exists().with_context(|| key.display().to_string())?;
        Ok(Kept { has_key, ..Kept::head_of(place) })
    }

    /// Where a key may have been made for a bundle, before the first act.
    pub(crate) fn head_of(place: &Place) -> Self {
        Kept { head: kept_head_of_anybody(place.folder()), has_key: false }
    }

    /// What the ledger does not have, a sentence. A broken one tells by itself. Fails where the head cannot be read.
    pub(crate) fn lost(self, log: &Log, soundness: &Soundness) -> anyhow::Result<Option<String>> {
        let Soundness::Sound(verified) = soundness else { return Ok(None) };
        let folder = shown(&log.folder.display().to_string());
        if let Some(kept) = self.head?
            && kept.record > 0
            && (kept.record > verified.head.record || log.head_at(kept.record)? != Some(kept))
        {
            return Ok(Some(format!(
                "BROKEN: the ledger in {folder} does not have {kept}, which {HEAD} names: its end was cut off, or it was \
                 written anew. {WHAT_TO_DO}"
            )));
        }
        Ok((verified.records == 0 && self.has_key).then(|| {
            format!(
                "BROKEN: {folder} has {LEDGER_KEY}, and no record: the key is made for the first act, so the records were \
                 removed, unless that act failed or a bundle was exported before it. {WHAT_TO_DO}"
            )
        }))
    }
}
