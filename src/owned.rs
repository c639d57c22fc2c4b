use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, bail};
use rustix::process::geteuid;

use crate::acts::{HEAD, KEY, LEDGER};
use crate::audit::LEDGER_KEY;

/// Fails where a file of the ledger of acts belongs to neither root nor who runs this: the exporter's user may put files
/// into the state folder, and would say there what was approved, or by which key.
pub(crate) fn check_ledger(folder: &Path) -> anyhow::Result<()> {
    let (ledger, locks) = (format!("{LEDGER}.jsonl"), [format!(".{LEDGER}.lock"), format!(".{KEY}.lock")]);
    let names = [&*ledger, KEY, LEDGER_KEY, HEAD].into_iter().chain(locks.iter().map(String::as_str));
    names.map(|name| folder.join(name)).try_for_each(|path| check(&path))
}

fn check(path: &Path) -> anyhow::Result<()> {
    let owner = match path.symlink_metadata() {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        found => found.with_context(|| path.display().to_string())?.uid(),
    };
    if owner == 0 || owner == geteuid().as_raw() {
        return Ok(());
    }
    bail!(
        "{0} belongs to uid {owner}, who is neither root nor who runs this, and nothing in it is believed: look at it, then \
         put it out of the way with `mv {0} {0}.refused`",
        path.display()
    )
}
