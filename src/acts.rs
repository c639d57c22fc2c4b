use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, bail};
use baseline::{Approval, Host, LockedFile, When, approval_json, git_commit, read_of_anybody};
use inventory::RawText;
use ledger::{Act, ActKind, FileChange, HostKey, Keeping, Who, Writer};
use rustix::process::{geteuid, getuid};
use sha2::{Digest, Sha256};

use crate::editing::PATIENCE;
use crate::paths::Paths;
use crate::signer::{Approver, user};

/// The ledger's name: `ledger.jsonl` in the state folder.
pub(crate) const LEDGER: &str = "ledger";
/// Its key, in the same folder.
pub(crate) const KEY: &str = "ledger.key";
/// A year of a busy host is one file.
const SEGMENT: u64 = 16 << 20;

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
        let (drift, endpoints, old, new, reason, ticket, revision, gone_since) = Default::default();
        Deed { kind, who, drift, endpoints, old, new, reason, ticket, revision, gone_since }
    }
}

/// Puts a text in a file's place, once the act is in the ledger: what is acknowledged is recorded, whatever happens in
/// between. A record whose file was not written is taken back by another record, at the latest by the next act.
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
    let record = ledger.append(&act)?;
    let Err(error) = file.replace(text) else { return Ok(()) };
    if act
        .file
        .as_ref()
        .is_some_and(|change| held(change).is_ok_and(|held| held.as_ref() == Some(&change.after)))
    {
        return Err(error).context("it is done, and may be lost if the machine stops now");
    }
    let why = "the file was not written: the act was not carried out";
    ledger.take_back(record, &act, why).with_context(|| format!("{error}; and that it was not done"))?;
    Err(error.into())
}

/// Records an act that writes no file.
pub(crate) fn record(paths: &Paths, host: &Host, deed: Deed<'_>) -> anyhow::Result<()> {
    let mut ledger = Ledger::open(paths, host)?;
    let act = ledger.act(deed, None, None);
    ledger.append(&act)?;
    Ok(())
}

/// The ledger, ours alone while this value lives.
pub(crate) struct Ledger {
    writer: Writer,
    host: String,
}

impl Ledger {
    /// Opens it, and takes back an act that was recorded and then not carried out.
    pub(crate) fn open(paths: &Paths, host: &Host) -> anyhow::Result<Self> {
        let folder = &paths.state;
        make_folder(folder)?;
        let failed = || format!("nothing was done, because it cannot be recorded in {}", folder.display());
        let last = ledger_lock(folder).with_context(failed)?;
        let mut ledger = Ledger { writer: last, host: host.name.escaped() };
        ledger.recover(folder).with_context(failed)?;
        Ok(ledger)
    }

    fn act(&self, deed: Deed<'_>, file: Option<FileChange>, git: Option<String>) -> Act {
        let Deed { kind, who, drift, endpoints, old, new, reason, ticket, revision, gone_since } = deed;
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
            revision,
            git,
            gone_since,
            of: None,
        }
    }

    /// Returns the record's number. When it returns, the record is on the disk.
    pub(crate) fn append(&mut self, act: &Act) -> anyhow::Result<u64> {
        let body = serde_json::to_vec(act).context("the act cannot be written down")?;
        let head = self.writer.append(&[body]).context("nothing was done, because it cannot be recorded")?;
        Ok(head.record)
    }

    fn take_back(&mut self, record: u64, act: &Act, why: &str) -> anyhow::Result<()> {
        let undone = Act {
            time: now(),
            act: ActKind::Undone,
            who: Who { user: "portledger".to_owned(), uid: geteuid().as_raw(), ..Who::default() },
            reason: Some(why.to_owned()),
            of: Some(record),
            old: None,
            new: None,
            ..act.clone()
        };
        self.append(&undone).map(|_| ())
    }

    /// A kill may have come between the record and the file.
    fn recover(&mut self, folder: &Path) -> anyhow::Result<()> {
        let Some(line) = ledger::last(folder, LEDGER)? else { return Ok(()) };
        let Ok(act) = serde_json::from_slice::<Act>(&line.body) else { return Ok(()) };
        let Some(change) = act.file.as_ref().filter(|_| act.act != ActKind::Undone) else { return Ok(()) };
        // Whoever wrote it otherwise since then wrote it after the act, and so did who put something else in its place.
        let is_as_before =
            held(change).is_ok_and(|held| held == change.before && held != Some(change.after.clone()));
        let why =
            "the file is as it was before: the act was not carried out, or somebody put the old file back";
        if is_as_before { self.take_back(line.record, &act, why) } else { Ok(()) }
    }
}

/// The digest of what a file holds that an act changed; `None` where there is no file.
fn held(change: &FileChange) -> anyhow::Result<Option<String>> {
    use std::os::unix::ffi::OsStrExt;
    let path = RawText::from_escaped(&change.path).context("the path is not escaped")?;
    let held = read_of_anybody(Path::new(std::ffi::OsStr::from_bytes(path.as_bytes())))?;
    Ok(held.map(|source| digest(&source.text)))
}

pub(crate) fn ledger_lock(folder: &Path) -> anyhow::Result<Writer> {
    let key = HostKey::load_or_create(&folder.join(KEY))?;
    let keeping = Keeping { segment: SEGMENT, segments: None, mode: 0o640, synced: true };
    Ok(Writer::open(folder, LEDGER, key, keeping, PATIENCE)?)
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

pub(crate) fn now() -> String {
    When::instant(SystemTime::now()).to_string()
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// /proc/self/loginuid; 4294967295 where nobody logged in.
fn login_uid() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/self/loginuid").ok()?;
    text.trim().parse().ok().filter(|uid| *uid != u32::MAX)
}
