use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use baseline::{
    Approval, Host, LockedFile, SourceText, approval_json, git_commit, keep_revoked, read_of_anybody,
    read_trusted, refuse_foreign,
};
use inventory::RawText;
use jiff::Timestamp;
use ledger::{Act, ActKind, FileChange, Head, HostKey, Keeping, Who, Writer};
use rustix::process::{geteuid, getuid};
use sha2::{Digest, Sha256};

use crate::editing::PATIENCE;
use crate::owned;
use crate::paths::{Paths, trusted_owner};
use crate::say::aside;
use crate::signer::{Approver, user};

/// The ledger's name: `ledger.jsonl` in the state folder.
pub(crate) const LEDGER: &str = "ledger";
/// Its key, in the same folder.
pub(crate) const KEY: &str = "ledger.key";
/// A year of a busy host is one file.
const SEGMENT: u64 = 16 << 20;
/// Its head after the last act that was finished, beside it.
pub(crate) const HEAD: &str = "ledger.head";

/// What somebody does, without what every record tells.
pub(crate) struct Deed<'a> {
    pub(crate) kind: ActKind,
    pub(crate) who: Who,
    pub(crate) drift: Option<String>,
    pub(crate) endpoints: Vec<String>,
    pub(crate) old: Option<&'a Approval>,
    pub(crate) new: Option<&'a Approval>,
    pub(crate) reason: Option<String>,
    pub(crate) ticket: Option<String>,
    pub(crate) revision: Option<String>,
    pub(crate) gone_since: Option<String>,
    pub(crate) counts: Option<bool>,
    pub(crate) away: bool,
    /// Up to which serial approvals of this id count no more on this host once it is done.
    pub(crate) retired: Option<u64>,
}

impl Deed<'_> {
    pub(crate) fn of(kind: ActKind, approver: &Approver) -> Self {
        let key = approver.key().map(|key| key.fingerprint());
        let who = Who {
            user: RawText::from(user().as_str()).escaped(),
            uid: getuid().as_raw(),
            login_uid: login_uid(),
            principal: key.is_some().then(|| approver.name.clone()),
            key,
        };
        let (drift, endpoints, old, new, reason, ticket) = Default::default();
        let (revision, gone_since, counts, away, retired) = Default::default();
        Deed {
            kind,
            who,
            drift,
            endpoints,
            old,
            new,
            reason,
            ticket,
            revision,
            gone_since,
            counts,
            away,
            retired,
        }
    }
}

/// Puts a text in a file's place, once the act is in the ledger: what is acknowledged is recorded, whatever happens in
/// between. A record whose file was not written is taken back by another record, at the latest by the next act; but a
/// revocation that was recorded holds, and what is finished is never taken back.
pub(crate) fn write(
    paths: &Paths,
    host: &Host,
    file: LockedFile,
    text: &str,
    deed: Deed<'_>,
) -> anyhow::Result<()> {
    let mut ledger = Ledger::open(paths, host)?;
    let before = file.source();
    let change = FileChange {
        path: RawText::new(before.path.as_os_str().as_encoded_bytes()).escaped(),
        before: (!file.is_new()).then(|| digest(&before.text)),
        after: digest(text),
    };
    let git = git_commit(&before.path);
    let act = ledger.act(deed, Some(change), git);
    let head = ledger.append(&act)?;
    if revokes(&act)
        && let Err(error) = ledger.remember(&act)
    {
        let why = "it would not have been remembered: the act was not carried out";
        ledger.take_back(head, &act, why).with_context(|| format!("{error:#}; and that it was not done"))?;
        return Err(error.context("nothing was done, because it would not be remembered"));
    }
    if let Err(error) = file.replace(text) {
        return Err(not_written(&mut ledger, head, &act, error.into()));
    }
    // It was in force until now.
    ledger.remember(&act).context(
        "it is done, but what it withdrew will not be remembered once the baseline does not say so: the next act tries again",
    )?;
    ledger.finish(head).context(UNFINISHED)
}

/// Not acknowledged: the next act looks whether the file still has it.
const UNFINISHED: &str = "it is done and recorded, but not that it was finished";

fn not_written(ledger: &mut Ledger, head: Head, act: &Act, error: anyhow::Error) -> anyhow::Error {
    let is_there = |change| held(change).is_ok_and(|held| held.as_ref() == Some(&change.after));
    if act.file.as_ref().is_some_and(is_there) {
        return error.context("it is done, and may be lost if the machine stops now");
    }
    if revokes(act) {
        return error.context("it counts no more on this host, which remembers that, but stands in the file");
    }
    let why = "the file was not written: the act was not carried out";
    match ledger.take_back(head, act, why) {
        Ok(()) => error,
        Err(other) => other.context(format!("{error:#}; and that it was not done")),
    }
}

/// Records an act that writes no file.
pub(crate) fn record(paths: &Paths, host: &Host, deed: Deed<'_>) -> anyhow::Result<()> {
    let mut ledger = Ledger::open(paths, host)?;
    let act = ledger.act(deed, None, None);
    let head = ledger.append(&act)?;
    ledger.finish(head).context(UNFINISHED)
}

/// The ledger, ours alone while this value lives.
pub(crate) struct Ledger {
    writer: Writer,
    host: String,
    folder: PathBuf,
}

impl Ledger {
    /// Opens it, and takes back an act that was recorded and then not carried out.
    pub(crate) fn open(paths: &Paths, host: &Host) -> anyhow::Result<Self> {
        let folder = &paths.state;
        make_folder(folder)?;
        let failed = || format!("nothing was done, because it cannot be recorded in {}", folder.display());
        let had_key = folder.join(KEY).exists();
        let writer = ledger_lock(folder).with_context(failed)?;
        let kept = kept_head(folder).with_context(failed)?;
        let found = writer.head();
        check_whole(folder, kept, found).with_context(failed)?;
        if !had_key && found.record > 0 {
            aside(format_args!(
                "portledger: {} was gone, and this host has a new key: fetch ledger.key.pub again for who verifies elsewhere",
                folder.join(KEY).display()
            ));
        }
        for stranger in ledger::strangers(folder, LEDGER).with_context(failed)? {
            aside(format_args!("portledger: {stranger}"));
        }
        let mut ledger = Ledger { writer, host: host.name.escaped(), folder: folder.to_owned() };
        match kept {
            // Nothing says what was finished: what stands there is not taken back.
            None => ledger.finish(found),
            Some(kept) if kept.record < found.record => ledger.recover(found),
            Some(_) => Ok(()),
        }
        .with_context(failed)?;
        Ok(ledger)
    }

    fn act(&self, deed: Deed<'_>, file: Option<FileChange>, git: Option<String>) -> Act {
        let Deed { kind, who, drift, endpoints, old, new, reason, ticket, .. } = deed;
        let approval = new.or(old);
        Act {
            time: now(),
            host: self.host.clone(),
            act: kind,
            who,
            approval: approval.map(|approval| approval.id.clone()),
            serial: approval.map(|approval| approval.serial),
            drift,
            endpoints,
            old: old.map(approval_json),
            new: new.map(approval_json),
            reason,
            ticket,
            file,
            revision: deed.revision,
            git,
            counts: deed.counts,
            away: deed.away,
            retired: deed.retired.filter(|serial| *serial > 0 && !deed.away),
            gone_since: deed.gone_since,
            of: None,
        }
    }

    /// When it returns, the record is on the disk.
    fn append(&mut self, act: &Act) -> anyhow::Result<Head> {
        let body = serde_json::to_vec(act).context("the act cannot be written down")?;
        self.writer.append(&[body]).context("nothing was done, because it cannot be recorded")
    }

    /// From here on nothing up to this record is taken back.
    fn finish(&self, head: Head) -> anyhow::Result<()> {
        keep_head(&self.folder, head)
    }

    /// What was revoked on this host, or approved anew, counts never again there as it was, whatever becomes of the file,
    /// and whether or not `serve` runs.
    fn remember(&self, act: &Act) -> anyhow::Result<()> {
        match (&act.approval, act.retired) {
            (Some(id), Some(serial)) => Ok(keep_revoked(&self.folder, trusted_owner(), id, serial)?),
            _ => Ok(()),
        }
    }

    fn take_back(&mut self, head: Head, act: &Act, why: &str) -> anyhow::Result<()> {
        let undone = Act {
            time: now(),
            act: ActKind::Undone,
            who: Who { user: "portledger".to_owned(), uid: geteuid().as_raw(), ..Who::default() },
            reason: Some(why.to_owned()),
            of: Some(head.record),
            old: None,
            new: None,
            retired: None,
            ..act.clone()
        };
        let head = self.append(&undone)?;
        self.finish(head)
    }

    /// A kill came after the record at the head, and before the act was finished.
    fn recover(&mut self, head: Head) -> anyhow::Result<()> {
        let Some(line) = ledger::last(&self.folder, LEDGER)? else { return Ok(()) };
        if let Ok(act) = serde_json::from_slice::<Act>(&line.body) {
            if !was_done(&act)? {
                return self.take_back(
                    head,
                    &act,
                    "the file is as it was before: the act was not carried out",
                );
            }
            self.remember(&act)?;
        }
        self.finish(head)
    }
}

/// It holds from its record on, for this host remembers it. What nobody signed is taken out of the file, and no more.
fn revokes(act: &Act) -> bool {
    act.act == ActKind::Revoke && act.retired.is_some()
}

/// Of the last act, which was recorded.
fn was_done(act: &Act) -> anyhow::Result<bool> {
    let is_ours = act.act != ActKind::Undone && !act.away && !revokes(act);
    let Some(change) = act.file.as_ref().filter(|_| is_ours) else { return Ok(true) };
    let text = text_of(change)?;
    let held = text.as_deref().map(digest);
    if held.as_ref() == Some(&change.after) {
        return Ok(true);
    }
    // Whoever wrote it otherwise since then wrote it after the act, unless a renewal is not in it.
    let is_in_it =
        || newest_signature(act).is_none_or(|signature| text.is_some_and(|text| text.contains(signature)));
    Ok(held != change.before && (act.retired.is_none() || is_in_it()))
}

/// By which an act made what it wrote count.
fn newest_signature(act: &Act) -> Option<&str> {
    let new = act.new.as_ref()?;
    let countersigned = new.get("countersigned").and_then(|all| all.as_array()?.last()?.get("signature"));
    countersigned.or_else(|| new.get("signature"))?.as_str()
}

/// How far the ledger was when an act was last finished; `None` where nobody said so yet.
pub(crate) fn kept_head(folder: &Path) -> anyhow::Result<Option<Head>> {
    head_in(read_trusted(&folder.join(HEAD), trusted_owner())?)
}

/// Likewise, whosever the folder is: who audits it need not trust its owner.
pub(crate) fn kept_head_of_anybody(folder: &Path) -> anyhow::Result<Option<Head>> {
    head_in(read_of_anybody(&folder.join(HEAD))?)
}

fn head_in(source: Option<SourceText>) -> anyhow::Result<Option<Head>> {
    let Some(source) = source else { return Ok(None) };
    let head = serde_json::from_str(&source.text);
    head.map(Some).with_context(|| format!("{}: it is no head: look who wrote it", source.path.display()))
}

pub(crate) fn keep_head(folder: &Path, head: Head) -> anyhow::Result<()> {
    let file = LockedFile::open(&folder.join(HEAD), trusted_owner(), PATIENCE)?;
    Ok(file.replace(&serde_json::to_string(&head)?)?)
}

/// Whoever removes the ledger, or cuts its end off, must not have it begun anew.
fn check_whole(folder: &Path, kept: Option<Head>, found: Head) -> anyhow::Result<()> {
    match kept {
        Some(kept) if kept.record > found.record => bail!(
            "the ledger had {} records, and {} are there: put ledger.jsonl back from a backup, or remove {} to go on \
             without what is missing",
            kept.record,
            found.record,
            folder.join(HEAD).display()
        ),
        _ => Ok(()),
    }
}

/// The digest of what a file holds that an act changed; `None` where there is no file.
fn held(change: &FileChange) -> anyhow::Result<Option<String>> {
    Ok(text_of(change)?.as_deref().map(digest))
}

fn text_of(change: &FileChange) -> anyhow::Result<Option<String>> {
    use std::os::unix::ffi::OsStrExt;
    let path = RawText::from_escaped(&change.path).context("the path is not escaped")?;
    let held = read_of_anybody(Path::new(std::ffi::OsStr::from_bytes(path.as_bytes())))?;
    Ok(held.map(|source| source.text))
}

pub(crate) fn ledger_lock(folder: &Path) -> anyhow::Result<Writer> {
    owned::check_ledger(folder)?;
    let key = HostKey::load_or_create(&folder.join(KEY))?;
    let keeping = Keeping { segment: SEGMENT, segments: None, mode: 0o640, synced: true };
    let (ours, first) = (key.fingerprint(), key.believed().fingerprints().next());
    let writer = Writer::open(folder, LEDGER, key, keeping, PATIENCE)?;
    if writer.head().record == 0 && first.is_some_and(|first| first != ours) {
        bail!(
            "{0}.pub lists keys that this host had before {ours}, and no record is there: put ledger.jsonl back from a \
             backup, or, where it never had one, remove those lines, as in `ssh-keygen -y -f {0} > {0}.pub`",
            folder.join(KEY).display()
        );
    }
    Ok(writer)
}

/// What this host remembers of revocations is root's alone: what somebody else put there instead is put aside.
pub(crate) fn refuse_foreign_memory(paths: &Paths) -> anyhow::Result<()> {
    if let Some(owner) = refuse_foreign(&paths.state, trusted_owner())? {
        aside(format_args!(
            "portledger: ledger.revoked.json in {} belonged to uid {owner}, and is ledger.revoked.json.refused now: what was \
             revoked on this host is not in it, see `portledger audit --act revoke`",
            paths.state.display()
        ));
    }
    Ok(())
}

/// Only its owner and the exporter's group have a look at it.
pub(crate) fn make_folder(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o750).create(folder);
    made.with_context(|| format!("{}: cannot be made", folder.display()))?;
    let mode = folder.metadata().with_context(|| folder.display().to_string())?.mode();
    if mode & 0o002 != 0 {
        bail!(
            "{}: everybody can write to it: chmod o-w it, or choose another folder with --state",
            folder.display()
        );
    }
    Ok(())
}

/// As exact as reloads are told, so that both can be put into one order.
pub(crate) fn now() -> String {
    format!("{:.3}", Timestamp::now())
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// /proc/self/loginuid; 4294967295 where nobody logged in.
pub(crate) fn login_uid() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/self/loginuid").ok()?;
    text.trim().parse().ok().filter(|uid| *uid != u32::MAX)
}
