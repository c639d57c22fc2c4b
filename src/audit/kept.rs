use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use ledger::Head;
use rustix::fs::OFlags;

use super::place::{LEDGER_KEY, Place};
use super::records::{Log, Soundness};
use crate::page::shown;

/// Where the writer of acts keeps the ledger's head, in the state folder.
const HEAD: &str = "ledger.head";
/// No head is that long.
const MOST: u64 = 4096;

/// What a state folder knows of its ledger. Read before the ledger is: a writer may be at work.
pub(super) struct Kept {
    head: anyhow::Result<Option<Head>>,
    has_key: bool,
}

const WHAT_TO_DO: &str = "Leave the folder as it is, and hold it against what left this host: a bundle of `portledger \
                          audit export`, a backup, the records that your log server has";

impl Kept {
    /// Nothing of a bundle: its manifest says what the ledger was.
    pub(super) fn of(place: &Place) -> anyhow::Result<Self> {
        if place.manifest.is_some() {
            return Ok(Kept { head: Ok(None), has_key: false });
        }
        let key = place.folder().join(LEDGER_KEY);
        let has_key = key.try_exists().with_context(|| key.display().to_string())?;
        Ok(Kept { head: head(place.folder()), has_key })
    }

    /// What the ledger does not have, a sentence. A broken one tells by itself. Fails where the head cannot be read.
    pub(super) fn lost(self, log: &Log, soundness: &Soundness) -> anyhow::Result<Option<String>> {
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

/// `None` where none is kept.
fn head(folder: &Path) -> anyhow::Result<Option<Head>> {
    let path = folder.join(HEAD);
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
    let opened = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.with_context(|| path.display().to_string())?,
    };
    let mut text = Vec::new();
    opened.take(MOST + 1).read_to_end(&mut text).with_context(|| path.display().to_string())?;
    if text.len() as u64 > MOST {
        bail!("{}: it is longer than {MOST} bytes, and no head: look who wrote it", path.display());
    }
    let head = serde_json::from_slice(&text);
    let head = head.with_context(|| format!("{}: it is no head: look who wrote it", path.display()))?;
    Ok(Some(head))
}
